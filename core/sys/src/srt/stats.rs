//! What libsrt has counted.

use std::time::Duration;

/// Counts of one connection, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Round-trip time, smoothed.
    pub rtt: Duration,
    /// Packets sent, repeated ones included.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets that the peer missed.
    pub send_lost: u64,
    /// Packets that were missed here.
    pub receive_lost: u64,
    /// Packets sent again.
    pub repeated: u64,
    /// Packets that were too late to send.
    pub send_dropped: u64,
    /// Packets that came too late, or never.
    pub receive_dropped: u64,
    /// Packets that could not be decrypted.
    pub undecrypted: u64,
    /// Bytes sent, repeated ones and headers included.
    pub bytes_sent: u64,
    /// Bytes received, headers included.
    pub bytes_received: u64,
    /// What waits to be sent or acknowledged: packets, and the time they span.
    pub waiting: (u64, Duration),
    /// What is received and not taken yet: packets, and the time they span.
    pub received: (u64, Duration),
    /// The link's capacity as libsrt guesses it, bits per second.
    pub bandwidth: u64,
    /// The delay that both sides agreed on.
    pub latency: Duration,
}

/// `SRT_TRACEBSTATS`, as far as 1.4 has it; newer libraries write more behind it.
#[cfg(target_os = "linux")]
#[repr(C)]
#[derive(Default)]
pub(super) struct Raw {
    ms_time_stamp: i64,
    pkt_sent_total: i64,
    pkt_recv_total: i64,
    /// Loss sent, loss received, repeated, ACKs and NAKs sent and received.
    totals: [i32; 7],
    us_snd_duration_total: i64,
    pkt_snd_drop_total: i32,
    pkt_rcv_drop_total: i32,
    pkt_rcv_undecrypt_total: i32,
    byte_sent_total: u64,
    byte_recv_total: u64,
    /// Loss received, repeated, dropped on sending and receiving, undecrypted.
    byte_totals: [u64; 5],
    pkt_sent: i64,
    pkt_recv: i64,
    /// Loss, repeated, repeated ones received, ACKs and NAKs.
    local: [i32; 8],
    mbps_send_rate: f64,
    mbps_recv_rate: f64,
    us_snd_duration: i64,
    pkt_reorder_distance: i32,
    pkt_rcv_avg_belated_time: f64,
    pkt_rcv_belated: i64,
    dropped: [i32; 3],
    bytes: [u64; 7],
    us_pkt_snd_period: f64,
    windows: [i32; 3],
    ms_rtt: f64,
    mbps_bandwidth: f64,
    available: [i32; 2],
    mbps_max_bw: f64,
    byte_mss: i32,
    pkt_snd_buf: i32,
    byte_snd_buf: i32,
    ms_snd_buf: i32,
    ms_snd_tsbpd_delay: i32,
    pkt_rcv_buf: i32,
    byte_rcv_buf: i32,
    ms_rcv_buf: i32,
    ms_rcv_tsbpd_delay: i32,
    /// Room for what newer libraries add.
    rest: [u64; 32],
    more: [u64; 32],
}

#[cfg(target_os = "linux")]
impl Raw {
    pub(super) fn stats(&self) -> Stats {
        let count = |n: i32| u64::try_from(n).unwrap_or(0);
        let long = |n: i64| u64::try_from(n).unwrap_or(0);
        let ms = |n: i32| Duration::from_millis(count(n));
        Stats {
            rtt: Duration::from_secs_f64((self.ms_rtt / 1000.0).clamp(0.0, 1e6)),
            packets_sent: long(self.pkt_sent_total),
            packets_received: long(self.pkt_recv_total),
            send_lost: count(self.totals[0]),
            receive_lost: count(self.totals[1]),
            repeated: count(self.totals[2]),
            send_dropped: count(self.pkt_snd_drop_total),
            receive_dropped: count(self.pkt_rcv_drop_total),
            undecrypted: count(self.pkt_rcv_undecrypt_total),
            bytes_sent: self.byte_sent_total,
            bytes_received: self.byte_recv_total,
            waiting: (count(self.pkt_snd_buf), ms(self.ms_snd_buf)),
            received: (count(self.pkt_rcv_buf), ms(self.ms_rcv_buf)),
            bandwidth: (self.mbps_bandwidth.clamp(0.0, 1e6) * 1e6) as u64,
            latency: ms(self.ms_snd_tsbpd_delay.max(self.ms_rcv_tsbpd_delay)),
        }
    }
}
