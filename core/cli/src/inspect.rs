//! `probe` and `devices`: what the engine knows, as JSON or for people.

use crate::args::ProbeArgs;
use crate::exit::Outcome;
use crate::transcode::json;
use crate::words;
use ghoststream::device::{self, Devices, Media, Screens};
use ghoststream::probe::{Probe, ProbeOptions, Stream, probe as look};
use std::fmt::Write as _;
use std::io::Write as _;

/// `probe`.
pub fn probe(args: &ProbeArgs) -> Outcome {
    let source = args.open.source(&args.input)?;
    let found = look(&source, &ProbeOptions { keyframes: args.keyframes })?;
    let text = if args.json { json(&found)? } else { page(&found) };
    Ok(writeln!(std::io::stdout(), "{}", text.trim_end())?)
}

fn page(p: &Probe) -> String {
    let mut text = format!("{}\n  {}", p.source, p.format_name);
    if let Some(duration) = p.duration {
        let _ = write!(text, ", {} ({duration:.3} s)", words::time(duration));
    }
    if let Some(rate) = p.bit_rate {
        let _ = write!(text, ", {}", words::rate(rate));
    }
    if let Some(size) = p.size {
        let _ = write!(text, ", {}", words::bytes(size));
    }
    text.push('\n');
    for (key, value) in &p.metadata {
        let _ = writeln!(text, "  {key}: {value}");
    }
    for stream in &p.streams {
        let _ = writeln!(text, "{}", line(stream));
        for frame in stream.keyframes.iter().flatten() {
            let _ = writeln!(text, "    key frame at {:.6}", frame.time);
        }
    }
    for program in p.programs.iter().filter(|_| p.programs.len() > 1) {
        let name = program.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let streams: Vec<String> = program.streams.iter().map(|index| format!("#{index}")).collect();
        let _ = writeln!(text, "program {}{name}: {}", program.id, streams.join(" "));
    }
    for chapter in &p.chapters {
        let title = chapter.title.as_deref().unwrap_or_default();
        let _ =
            writeln!(text, "chapter {} to {} {title}", words::time(chapter.start), words::time(chapter.end));
    }
    for file in &p.attachments {
        let name = file.name.as_deref().unwrap_or("unnamed");
        let size = file.size.map(|n| format!(", {}", words::bytes(n as u64))).unwrap_or_default();
        let _ = writeln!(text, "attachment {name}{size}");
    }
    text
}

fn line(s: &Stream) -> String {
    let mut parts = vec![format!("#{} {}: {}", s.index, s.kind, s.codec)];
    if let Some(profile) = &s.profile {
        parts[0].push_str(&format!(" ({profile})"));
    }
    if let Some(v) = &s.video {
        let mut size = format!("{}x{}", v.width, v.height);
        if (v.display_width, v.display_height) != (v.width, v.height) {
            size.push_str(&format!(" shown as {}x{}", v.display_width, v.display_height));
        }
        parts.push(size);
        if let Some(rate) = v.frame_rate {
            let variable = if v.constant_rate == Some(false) { " variable" } else { "" };
            parts.push(format!("{:.3} fps{variable}", rate.as_f64()));
        }
        parts.extend(v.pixel_format.clone());
        if v.hdr.format != "sdr" {
            parts.push(v.hdr.format.into());
        }
        if matches!(v.field_order, "top_first" | "bottom_first") {
            parts.push("interlaced".into());
        }
        if v.mirrored {
            parts.push("mirrored".into());
        }
        if v.rotation != 0.0 {
            parts.push(format!("rotated {}°", v.rotation));
        }
    }
    if let Some(a) = &s.audio {
        // What has not come yet within what was looked at is not known.
        parts.extend((a.sample_rate > 0).then(|| format!("{} Hz", a.sample_rate)));
        parts.extend(match a.layout.as_str() {
            "0 channels" => None,
            "1 channels" => Some("mono".into()),
            layout => Some(layout.to_owned()),
        });
    }
    if let Some(rate) = s.bit_rate {
        parts.push(words::rate(rate));
    }
    parts.extend(s.language.clone());
    parts.extend(s.title.as_ref().map(|t| format!("\"{t}\"")));
    let d = &s.disposition;
    let roles = [
        (d.attached_picture, "cover"),
        (d.forced, "forced"),
        (d.hearing_impaired, "for hard of hearing"),
        (d.visual_impaired, "for visually impaired"),
        (d.comment, "commentary"),
    ];
    parts.extend(roles.into_iter().filter(|(is, _)| *is).map(|(_, role)| role.into()));
    parts.join(", ")
}

/// `devices`.
pub fn devices(as_json: bool) -> Outcome {
    let found = device::here();
    let text = if as_json {
        json(&found)?
    } else {
        table(&found.devices) + &screens(&found.screens) + &heard(&found.media)
    };
    Ok(writeln!(std::io::stdout(), "{}", text.trim_end())?)
}

fn screens(s: &Screens) -> String {
    let mut text = String::from("\nScreens\n");
    for m in &s.monitors {
        let refresh = m.refresh.map(|r| format!(" {r:.2} Hz")).unwrap_or_default();
        let primary = if m.primary { ", primary" } else { "" };
        let _ = writeln!(
            text,
            "  {:<14} {}x{}+{}+{}{refresh} ({}{primary}) {}",
            m.name, m.width, m.height, m.x, m.y, m.backend, m.description
        );
    }
    if s.monitors.is_empty() {
        text.push_str("  none\n");
    }
    match s.wayland {
        Some("none") => text.push_str("  the Wayland compositor hands out no pictures of them\n"),
        Some(protocol) => {
            let _ = writeln!(text, "  captured by {protocol}");
        }
        None => {}
    }
    for reason in &s.reasons {
        let _ = writeln!(text, "  {reason}");
    }
    if !s.windows.is_empty() {
        text.push_str("\nWindows\n");
    }
    for w in &s.windows {
        let _ = writeln!(text, "  0x{:08x} {}x{} {} ({})", w.id, w.width, w.height, w.title, w.class);
    }
    text
}

fn heard(d: &Media) -> String {
    let mut text = String::new();
    for (title, nodes) in [("Sound", &d.sounds), ("Cameras", &d.cameras)] {
        let _ = writeln!(text, "\n{title}");
        for node in nodes {
            let of = node.application.as_ref().or(node.description.as_ref());
            let of = of.map(|name| format!(" ({name})")).unwrap_or_default();
            let usual = if node.default { ", default" } else { "" };
            let _ = writeln!(text, "  {:<5} {:<10} {}{of}{usual}", node.id, node.kind, node.name);
        }
        match &d.pipewire {
            Some(reason) => drop(writeln!(text, "  unknown: {reason}")),
            None if nodes.is_empty() => text.push_str("  none\n"),
            None => {}
        }
    }
    for device in &d.video_devices {
        let _ =
            writeln!(text, "  {:<12} {:<10} {} ({})", device.path, device.kind, device.name, device.driver);
    }
    text
}

fn table(d: &Devices) -> String {
    let mut text = format!("FFmpeg {} ({})\n", d.ffmpeg.version, d.ffmpeg.license);
    let verdict = |usable: bool, reason: &Option<String>| match (usable, reason) {
        (true, _) => "works".to_string(),
        (false, Some(reason)) => format!("does not work: {reason}"),
        (false, None) => "does not work".into(),
    };
    text.push_str("\nGPUs\n");
    for gpu in &d.gpus {
        let _ = writeln!(text, "  {} ({}, {})", gpu.name, gpu.driver, gpu.path);
    }
    if d.gpus.is_empty() {
        text.push_str("  none\n");
    }
    for gpu in &d.nvidia {
        let can: Vec<&str> = gpu.codecs.keys().copied().collect();
        let what = match &gpu.reason {
            Some(why) => format!("does not encode: {why}"),
            None => format!(
                "nvenc: {} on {} engines, API {}, {} sessions open",
                can.join(", "),
                gpu.engines,
                gpu.api.as_deref().unwrap_or("unknown"),
                gpu.sessions.unwrap_or(gpu.own_sessions)
            ),
        };
        let _ = writeln!(text, "  {}: {} ({} MB), {what}", gpu.index, gpu.name, gpu.memory >> 20);
    }
    text.push_str("\nHardware\n");
    for h in &d.hardware {
        let _ = writeln!(text, "  {:<14} {}", h.name, verdict(h.usable, &h.reason));
    }
    text.push_str("\nEncoders\n");
    for e in &d.encoders {
        let _ = writeln!(
            text,
            "  {:<20} {:<10} {:<10} {}",
            e.name,
            e.codec,
            e.device,
            verdict(e.usable, &e.reason)
        );
    }
    let decoders: Vec<&str> = d.decoders.iter().map(|d| d.codec.as_str()).collect();
    let _ = writeln!(text, "\nDecodes {}", decoders.join(", "));
    let _ = writeln!(text, "\nOpens {}", d.formats.protocols.join(", "));
    text
}
