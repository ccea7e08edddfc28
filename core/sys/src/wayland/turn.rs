//! Turned monitors: their pictures come as the panel shows them and are turned upright here.

use wayland_client::protocol::wl_output::Transform;

/// Whether width and height change places.
pub(super) fn is_sideways(transform: Transform) -> bool {
    matches!(transform, Transform::_90 | Transform::_270 | Transform::Flipped90 | Transform::Flipped270)
}

/// Where pixels of an upright picture are in one of `width`×`height` pixels that was turned by `transform`, and, after
/// that, put upside down (`inverted`): the first one, and the steps to the right and down, in pixels as (x, y).
fn steps(transform: Transform, inverted: bool, width: i64, height: i64) -> [(i64, i64); 3] {
    let (right, bottom) = (width - 1, height - 1);
    let [first, across, down] = match transform {
        Transform::_90 => [(0, bottom), (0, -1), (1, 0)],
        Transform::_180 => [(right, bottom), (-1, 0), (0, -1)],
        Transform::_270 => [(right, 0), (0, 1), (-1, 0)],
        Transform::Flipped => [(right, 0), (-1, 0), (0, 1)],
        Transform::Flipped90 => [(0, 0), (0, 1), (1, 0)],
        Transform::Flipped180 => [(0, bottom), (1, 0), (0, -1)],
        Transform::Flipped270 => [(right, bottom), (0, -1), (-1, 0)],
        _ => [(0, 0), (1, 0), (0, 1)],
    };
    if inverted {
        [(first.0, bottom - first.1), (across.0, -across.1), (down.0, -down.1)]
    } else {
        [first, across, down]
    }
}

/// The picture upright, its rows without gaps: `pixel` bytes each. Copies; the rows of `picture` are `stride` apart.
pub(super) fn upright(
    picture: &[u8],
    (width, height, stride): (u32, u32, usize),
    pixel: usize,
    transform: Transform,
    inverted: bool,
) -> (Vec<u8>, u32, u32) {
    let [first, across, down] = steps(transform, inverted, i64::from(width), i64::from(height));
    let offset = |(x, y): (i64, i64)| x * pixel as i64 + y * stride as i64;
    let (first, across, down) = (offset(first), offset(across), offset(down));
    let (columns, rows) = if is_sideways(transform) { (height, width) } else { (width, height) };
    let mut turned = Vec::with_capacity(columns as usize * rows as usize * pixel);
    for row in 0..i64::from(rows) {
        let begin = first + row * down;
        if across == pixel as i64 {
            let begin = usize::try_from(begin).unwrap_or(0);
            turned.extend_from_slice(&picture[begin..begin + columns as usize * pixel]);
            continue;
        }
        for column in 0..i64::from(columns) {
            let at = usize::try_from(begin + column * across).unwrap_or(0);
            turned.extend_from_slice(&picture[at..at + pixel]);
        }
    }
    (turned, columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 2 3
    /// 4 5 6
    const UPRIGHT: [u8; 6] = [1, 2, 3, 4, 5, 6];

    #[test]
    fn every_transform_is_undone() {
        // As the compositor turns its pictures (wl_output.transform: counter-clockwise, flipped around the vertical).
        let turned: [(Transform, &[u8], u32, u32); 8] = [
            (Transform::Normal, &[1, 2, 3, 4, 5, 6], 3, 2),
            (Transform::_90, &[3, 6, 2, 5, 1, 4], 2, 3),
            (Transform::_180, &[6, 5, 4, 3, 2, 1], 3, 2),
            (Transform::_270, &[4, 1, 5, 2, 6, 3], 2, 3),
            (Transform::Flipped, &[3, 2, 1, 6, 5, 4], 3, 2),
            (Transform::Flipped90, &[1, 4, 2, 5, 3, 6], 2, 3),
            (Transform::Flipped180, &[4, 5, 6, 1, 2, 3], 3, 2),
            (Transform::Flipped270, &[6, 3, 5, 2, 4, 1], 2, 3),
        ];
        for (transform, pixels, width, height) in turned {
            let shape = (width, height, width as usize);
            let (found, columns, rows) = upright(pixels, shape, 1, transform, false);
            assert_eq!((found.as_slice(), columns, rows), (&UPRIGHT[..], 3, 2), "{transform:?}");
            let mut below: Vec<u8> = Vec::new();
            pixels.chunks(width as usize).rev().for_each(|row| below.extend_from_slice(row));
            let (found, ..) = upright(&below, shape, 1, transform, true);
            assert_eq!(found, UPRIGHT, "{transform:?}, upside down");
        }
    }

    #[test]
    fn rows_may_have_gaps_and_pixels_many_bytes() {
        let picture = [1, 1, 2, 2, 0, 3, 3, 4, 4, 0];
        let (found, ..) = upright(&picture, (2, 2, 5), 2, Transform::_180, false);
        assert_eq!(found, [4, 4, 3, 3, 2, 2, 1, 1]);
    }
}
