//! Subtitle files of a request: those from the network are fetched into the job's directory first, because a small file
//! that cannot be had must not end a film, and because libass wants a file.

use crate::policy::SourcePolicy;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The largest subtitle file.
const LARGEST: u64 = 16 << 20;
/// How long all of one file may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a server may send us elsewhere.
const REDIRECTS: usize = 5;

/// Where the subtitles at `url` are on this machine. Blocks.
///
/// # Errors
/// Why they cannot be had, without secrets.
pub(super) fn subtitles(
    url: &str,
    policy: &Arc<SourcePolicy>,
    directory: &Path,
    number: usize,
) -> Result<PathBuf, String> {
    let opened = policy.check(url).map_err(|e| e.0)?;
    if !opened.contains("://") {
        let path = PathBuf::from(opened);
        return if path.is_file() { Ok(path) } else { Err(format!("{}: no such file", path.display())) };
    }
    if !opened.starts_with("http://") && !opened.starts_with("https://") {
        return Err("subtitles are read from files, http and https".into());
    }
    let (data, last) = get(opened, policy)?;
    std::fs::create_dir_all(directory).map_err(|e| e.to_string())?;
    // The extension tells FFmpeg the format where the text does not.
    let path = last.split(['?', '#']).next().unwrap_or_default();
    let extension = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, e)| e);
    let known = ["srt", "vtt", "ass", "ssa"];
    let extension = extension.map(str::to_ascii_lowercase).filter(|e| known.contains(&e.as_str()));
    let file = directory.join(format!("{number}.{}", extension.as_deref().unwrap_or("srt")));
    std::fs::write(&file, data).map_err(|e| e.to_string())?;
    Ok(file)
}

/// Everything at `url`, and where it was at last. Every redirect is held against the policy.
fn get(mut url: String, policy: &Arc<SourcePolicy>) -> Result<(Vec<u8>, String), String> {
    let agent = crate::outgoing::agent(policy, PATIENCE);
    for _ in 0..=REDIRECTS {
        let answer = agent.get(&url).call().map_err(|e| e.to_string())?;
        match answer.status().as_u16() {
            200 => {
                let mut data = Vec::new();
                let mut body = answer.into_body();
                let read =
                    body.as_reader().take(LARGEST + 1).read_to_end(&mut data).map_err(|e| e.to_string())?;
                return if read as u64 > LARGEST {
                    Err("it is larger than 16 MiB".into())
                } else {
                    Ok((data, url))
                };
            }
            code @ (301 | 302 | 303 | 307 | 308) => {
                let to = answer.headers().get("location").and_then(|l| l.to_str().ok());
                let to = to.ok_or_else(|| format!("answered {code} without a place"))?;
                url = resolve(&url, to)?;
                policy.check(&url).map_err(|e| e.0)?;
            }
            code => return Err(format!("answered {code}")),
        }
    }
    Err("too many redirects".into())
}

/// `to` as a server at `url` means it.
fn resolve(url: &str, to: &str) -> Result<String, String> {
    if to.starts_with("http://") || to.starts_with("https://") {
        return Ok(to.into());
    }
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    match to {
        _ if to.starts_with("//") => Ok(format!("{scheme}:{to}")),
        _ if to.starts_with('/') => Ok(format!("{scheme}://{host}{to}")),
        _ if to.contains(':') => Err("it leads to another protocol".into()),
        _ => {
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            Ok(format!("{scheme}://{host}{folder}{to}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let at = |to: &str| resolve("http://h:1/a/b.srt?x=/y", to);
        assert_eq!(at("c.srt").unwrap(), "http://h:1/a/c.srt");
        assert_eq!(at("/c.srt").unwrap(), "http://h:1/c.srt");
        assert_eq!(at("//o/c.srt").unwrap(), "http://o/c.srt");
        assert_eq!(at("https://o/c").unwrap(), "https://o/c");
        assert!(at("file:/etc/passwd").is_err());
    }
}
