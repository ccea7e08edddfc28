//! How what is streamed is pushed, and keys that stand in no command line.

use super::values::parse_reconnects;
use crate::exit::Failure;
use clap::Args;
use ghoststream::spec::{AdaptChoice, AdaptSpec, Bitrate, OutputSpec, PushSpec, Seconds};

/// How it is pushed over a network, for all streams.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Streams")]
pub struct PushArgs {
    /// Lower the bit rate when the network cannot carry it, and raise it again to --bitrate. Its peak is --bitrate too,
    /// unless --max-bitrate or --cbr says otherwise
    #[arg(long)]
    pub adapt: bool,
    /// The lowest bit rate that --adapt goes to [default: a quarter of --bitrate]
    #[arg(long, value_name = "RATE", requires = "adapt")]
    pub min_bitrate: Option<Bitrate>,
    /// Tries to connect again before a stream is given up, or 'forever' [default: 5]
    #[arg(long, value_name = "COUNT", value_parser = parse_reconnects, allow_hyphen_values = true)]
    pub reconnects: Option<i32>,
    /// Time before the first of them; each next wait is twice as long [default: 1]
    #[arg(long, value_name = "TIME")]
    pub first_delay: Option<Seconds>,
    /// The longest such wait [default: 30]
    #[arg(long, value_name = "TIME")]
    pub most_delay: Option<Seconds>,
    /// Try again also when the first connection of all cannot be made
    #[arg(long)]
    pub retry_start: bool,
    /// How long connecting may take, and sending may stand still [default: 10]
    #[arg(long, value_name = "TIME")]
    pub push_timeout: Option<Seconds>,
    /// Media that may wait to be sent before pictures are dropped [default: 2]
    #[arg(long, value_name = "TIME")]
    pub max_delay: Option<Seconds>,
    /// Who is believed to sign the certificates of rtmps servers, instead of those whom the system believes
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Stream to any rtmps server, whatever its certificate says
    #[arg(long, conflicts_with = "ca_file")]
    pub no_tls_verify: bool,
}

impl PushArgs {
    /// The first argument that is about a stream.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            ("--adapt", self.adapt),
            ("--reconnects", self.reconnects.is_some()),
            ("--first-delay", self.first_delay.is_some()),
            ("--most-delay", self.most_delay.is_some()),
            ("--retry-start", self.retry_start),
            ("--push-timeout", self.push_timeout.is_some()),
            ("--max-delay", self.max_delay.is_some()),
            ("--ca-file", self.ca_file.is_some()),
            ("--no-tls-verify", self.no_tls_verify),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// The output for a stream to `url`.
    ///
    /// # Errors
    /// A usage error for a key that is not where `url` says.
    pub fn output(&self, url: &str) -> Result<OutputSpec, Failure> {
        let mut output = OutputSpec::path(filled_in(url)?);
        if self.given().is_some() {
            let usual = PushSpec::default();
            // Of several streams each has what is for its kind.
            let encrypted = output.is_pushed_encrypted();
            output.push = Some(PushSpec {
                reconnects: self.reconnects.unwrap_or(usual.reconnects),
                first_delay: self.first_delay.unwrap_or(usual.first_delay),
                most_delay: self.most_delay.unwrap_or(usual.most_delay),
                retry_start: self.retry_start,
                timeout: self.push_timeout.unwrap_or(usual.timeout),
                max_delay: self.max_delay.unwrap_or(usual.max_delay),
                adapt: match self.adapt {
                    true => AdaptChoice::Yes(AdaptSpec { min_bitrate: self.min_bitrate }),
                    false => AdaptChoice::No,
                },
                tls_verify: !(self.no_tls_verify && encrypted),
                ca_file: self.ca_file.clone().filter(|_| encrypted),
                ..usual
            });
        }
        Ok(output)
    }
}

/// `url` with what stands in the environment for `{env:NAME}`, and in a file for `{file:PATH}`: other users see the
/// arguments of a command.
fn filled_in(url: &str) -> Result<String, Failure> {
    let mut out = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((named, behind)) = after.split_once('}') else { break };
        let secret = match named.split_once(':') {
            Some(("env", name)) => std::env::var(name)
                .map_err(|_| Failure::usage(format!("URL: {{env:{name}}}: there is no such variable")))?,
            Some(("file", path)) => std::fs::read_to_string(path)
                .map_err(|e| Failure::usage(format!("URL: {{file:{path}}}: {e}")))?,
            _ => {
                // Not said again: it may be a key that was put between braces.
                return Err(Failure::usage("URL: what is in braces is neither {env:NAME} nor {file:PATH}"));
            }
        };
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(Failure::usage(format!("URL: {{{named}}} is empty")));
        }
        out += before;
        // In a query, what would end its field must not.
        match out.contains('?') {
            true => secret.bytes().for_each(|b| match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    out.push(char::from(b))
                }
                _ => out += &format!("%{b:02X}"),
            }),
            false => out += secret,
        }
        rest = behind;
    }
    out += rest;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_tls_is_judged_by_the_address_that_is_connected_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            format!("{{file:{}}}", path.to_str().expect("UTF-8"))
        };
        let (tls, plain) = (file("tls", "rtmps://h/a/k\n"), file("plain", "rtmp://h/a/rtmps://k\n"));
        let no_verify = PushArgs { no_tls_verify: true, ..PushArgs::default() };
        let named = PushArgs { ca_file: Some("ca.pem".into()), ..PushArgs::default() };
        for (url, encrypted) in [
            (tls.as_str(), true),
            (plain.as_str(), false),
            ("rtmps://h/a/k", true),
            ("RTMPS://h/a/k", true),
            ("facebook:k", true),
            ("kick:k", true),
            ("rtmp://h/a/k", false),
            ("srt://h:9", false),
        ] {
            let push = |args: &PushArgs| {
                let output = args.output(url).unwrap_or_else(|e| panic!("{url}: {}", e.message));
                output.push.expect("said")
            };
            assert_eq!(push(&no_verify).tls_verify, !encrypted, "{url}");
            assert_eq!(push(&named).ca_file.is_some(), encrypted, "{url}");
        }
    }

    #[test]
    fn keys_come_from_a_file_or_the_environment() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("key");
        std::fs::write(&file, "live_1&x\n").expect("written");
        let file = file.to_str().expect("UTF-8");
        let of = |url: &str| filled_in(url).map_err(|e| e.message);
        assert_eq!(of(&format!("twitch:{{file:{file}}}")), Ok("twitch:live_1&x".into()));
        assert_eq!(
            of(&format!("srt://h:9?passphrase={{file:{file}}}&latency=1")),
            Ok("srt://h:9?passphrase=live_1%26x&latency=1".into())
        );
        let home = std::env::var("PATH").expect("a path");
        assert_eq!(of("rtmp://h/{env:PATH}/k"), Ok(format!("rtmp://h/{home}/k")));
        assert_eq!(of("rtmp://h/a/k"), Ok("rtmp://h/a/k".into()));
        for (wrong, said) in [
            ("twitch:{env:GS_NOT_THERE}", "GS_NOT_THERE"),
            ("twitch:{file:/not/there}", "/not/there"),
            ("twitch:{key}", "neither"),
        ] {
            let e = of(wrong).expect_err(wrong);
            assert!(e.starts_with("URL: ") && e.contains(said), "{e}");
        }
    }
}
