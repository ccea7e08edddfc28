//! The bytes of a file that the application holds, readable at any place: in memory, or behind an object that seeks.

use ghoststream_sys::ffmpeg as av;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that can be read at any place, and again.
pub trait ReadAt: Send + Sync {
    /// How many there are. Asked whenever the end is needed; it should not change.
    fn size(&self) -> u64;

    /// Fills the beginning of `buffer` with what begins at `offset` and says how much that is; 0 at the end and after it.
    /// Called by the thread that uses the reader, one call at a time.
    ///
    /// # Errors
    /// What the caller of the reader gets to see. It is not asked for the same place again by itself.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A whole file in the application's hands. Clones share it; any number of readers may read it at once.
#[derive(Clone)]
pub struct Content(Arc<dyn ReadAt>);

impl Content {
    /// Bytes from an object of the application's own kind.
    pub fn new(object: impl ReadAt + 'static) -> Content {
        Content(Arc::new(object))
    }

    /// Bytes in memory, which are not copied.
    pub fn in_memory(data: impl AsRef<[u8]> + Send + Sync + 'static) -> Content {
        Content::new(Memory(data))
    }

    /// Bytes behind something that reads and seeks, from its beginning, wherever it stands.
    ///
    /// # Errors
    /// When its end cannot be found: it cannot seek.
    pub fn seekable(mut object: impl Read + Seek + Send + 'static) -> io::Result<Content> {
        let size = object.seek(SeekFrom::End(0))?;
        Ok(Content::new(Seekable { object: Mutex::new(object), size }))
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// For a demuxer: a position of its own in the same bytes.
    pub(crate) fn input(&self) -> av::Input {
        av::Input::Seekable(Box::new(Cursor { content: self.clone(), position: 0 }))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.size())
    }
}

struct Memory<T>(T);

impl<T: AsRef<[u8]> + Send + Sync> ReadAt for Memory<T> {
    fn size(&self) -> u64 {
        self.0.as_ref().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let data = self.0.as_ref();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let len = buffer.len().min(data.len() - from);
        buffer[..len].copy_from_slice(&data[from..from + len]);
        Ok(len)
    }
}

struct Seekable<T> {
    object: Mutex<T>,
    size: u64,
}

impl<T: Read + Seek + Send> ReadAt for Seekable<T> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut object = self.object.lock().unwrap_or_else(PoisonError::into_inner);
        object.seek(SeekFrom::Start(offset))?;
        object.read(buffer)
    }
}

struct Cursor {
    content: Content,
    position: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.content.0.read_at(self.position, buffer)?;
        if n > buffer.len() {
            return Err(io::Error::other("more was read than there was room for"));
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.content.size(), by),
            SeekFrom::Current(by) => (self.position, by),
        };
        let there = from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        self.position = there;
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_has_a_position_of_its_own() {
        for content in
            [Content::in_memory(b"0123456789"), Content::seekable(io::Cursor::new(b"0123456789")).unwrap()]
        {
            let (mut a, mut b) = [0, 1].map(|_| Cursor { content: content.clone(), position: 0 }).into();
            let read = |c: &mut Cursor, n: usize| {
                let mut buffer = vec![0; n];
                let n = c.read(&mut buffer).unwrap();
                String::from_utf8(buffer[..n].to_vec()).unwrap()
            };
            assert_eq!(
                (read(&mut a, 3), read(&mut b, 5), read(&mut a, 3)),
                ("012".into(), "01234".into(), "345".into())
            );
            assert_eq!(a.seek(SeekFrom::End(-2)).unwrap(), 8);
            assert_eq!((read(&mut a, 9), read(&mut a, 9)), ("89".into(), String::new()));
            assert_eq!(b.seek(SeekFrom::Current(100)).unwrap(), 105);
            assert_eq!(read(&mut b, 1), "");
            assert!(b.seek(SeekFrom::Current(-106)).is_err());
        }
    }
}
