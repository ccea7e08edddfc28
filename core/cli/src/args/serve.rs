//! `serve` and `config`.

use clap::Args;
use std::path::PathBuf;

/// `serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// The settings; without it ghoststream.yaml is looked for here, in ./config, in ~/.config/ghoststream and in
    /// /etc/ghoststream
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address to listen on [default: 0.0.0.0]
    #[arg(long)]
    pub host: Option<String>,
    /// The port to listen on; 0 takes a free one [default: 8765]
    #[arg(long)]
    pub port: Option<u16>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Do not announce the server on the network
    #[arg(long)]
    pub no_mdns: bool,
    /// Run the live origin: publish to rtmp://host/live/name, watch at /streams/live/name/playlist.m3u8
    #[arg(long)]
    pub live: bool,
    /// Run the live origin as a service that it replaces did, with its ports and variables: gstreamer, hls-dash
    #[arg(long, value_name = "PROFILE")]
    pub profile: Vec<ghoststream_server::config::Profile>,
    /// Brokers of Kafka that commands come from (host:port, several with commas)
    #[arg(long, value_name = "SERVERS", value_delimiter = ',')]
    pub kafka_servers: Vec<String>,
    /// Do without Kafka, whatever the settings say
    #[arg(long)]
    pub no_kafka: bool,
    /// Port with nothing but /metrics and /health, without a key [with --profile gstreamer: 8001]
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Directory below which streams may be recorded
    #[arg(long, value_name = "DIRECTORY")]
    pub recording_path: Option<PathBuf>,
    /// With --profile gstreamer: let streams be recorded, below /app/recordings if no directory is named
    #[arg(long)]
    pub enable_recording: bool,
    /// With --profile gstreamer: the port of its interface [default: 5002]
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// With --profile gstreamer: publish a test picture as the stream `test`
    #[arg(long)]
    pub test_pipeline: bool,
    /// With --profile gstreamer: how much the media libraries log, from 0 (nothing) to 9
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub gst_debug_level: Option<u8>,
    /// Show the encoders that work here, and end
    #[arg(long)]
    pub detect_hw: bool,
    /// Taken for the sake of older scripts: there is only the server
    #[arg(long, hide = true)]
    pub server_only: bool,
}

/// `config`.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Print every setting with its default, as a file to begin with
    #[arg(long)]
    pub print_default: bool,
    /// Print the description of the HTTP API (OpenAPI)
    #[arg(long, conflicts_with = "print_default")]
    pub print_openapi: bool,
    /// Print the JSON Schema of Kafka's messages
    #[arg(long, conflicts_with_all = ["print_default", "print_openapi"])]
    pub print_kafka_schema: bool,
    /// The file to check; without it the one that the server would take
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["print_default", "print_openapi", "print_kafka_schema"])]
    pub config: Option<PathBuf>,
}
