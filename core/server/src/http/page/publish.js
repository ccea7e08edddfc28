'use strict';
// Publishes the camera, the screen or the microphone of this browser by WHIP (RFC 9725).
(() => {
  const $ = id => document.getElementById(id);
  // What is published: { pc, media, session, timer, name }.
  let publishing = null;

  const say = text => { if ($('said').textContent !== text) $('said').textContent = text; };
  const trouble = text => { $('trouble').textContent = text; };

  // Those that the server packages, and this browser can encode.
  const known = ((window.RTCRtpSender && RTCRtpSender.getCapabilities('video')) || { codecs: [] }).codecs;
  for (const [name, text] of [['H264', 'H.264'], ['VP9', 'VP9'], ['AV1', 'AV1'], ['VP8', 'VP8 (WebRTC only)']]) {
    if (!known.some(c => c.mimeType === `video/${name}`)) continue;
    $('codec').append(new Option(text, name));
  }

  async function media(source) {
    const devices = navigator.mediaDevices;
    if (!devices) throw new Error('Browsers give cameras and screens to pages of https:// and localhost only.');
    if (source === 'screen') return devices.getDisplayMedia({ video: { frameRate: 30 }, audio: true });
    const video = source === 'camera' && { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    return devices.getUserMedia({ video, audio: true });
  }

  function halt(text) {
    if (!publishing) return;
    const { pc, media, session, timer } = publishing;
    publishing = null;
    clearInterval(timer);
    if (media) media.getTracks().forEach(track => track.stop());
    if (pc) pc.close();
    if (session) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
    $('preview').srcObject = null;
    $('preview').hidden = true;
    $('go').hidden = false;
    $('halt').hidden = true;
    say(text);
  }

  async function begin() {
    const mine = publishing = { name: $('name').value };
    const still = () => { if (publishing !== mine) throw new Error('It was stopped.'); };
    mine.media = await media($('source').value);
    still();
    mine.pc = new RTCPeerConnection();
    for (const track of mine.media.getTracks()) {
      const most = Math.round(Number($('rate').value) * 1e6);
      const encodings = track.kind === 'video' && most > 0 ? { sendEncodings: [{ maxBitrate: most }] } : {};
      const line = mine.pc.addTransceiver(track, { direction: 'sendonly', streams: [mine.media], ...encodings });
      if (track.kind === 'video' && $('codec').value) {
        const wanted = known.filter(c => c.mimeType === `video/${$('codec').value}`);
        line.setCodecPreferences([...wanted, ...known.filter(c => /\/rtx$/i.test(c.mimeType))]);
      }
      // The browser's own button ends a screen.
      track.onended = () => { if (publishing === mine) halt('The source has ended.'); };
    }
    mine.pc.onconnectionstatechange = () => {
      if (publishing !== mine || !['failed', 'closed'].includes(mine.pc.connectionState)) return;
      halt('');
      trouble('The connection broke off.');
    };
    if (mine.media.getVideoTracks().length) {
      $('preview').srcObject = mine.media;
      $('preview').hidden = false;
    }
    await mine.pc.setLocalDescription(await mine.pc.createOffer());
    const headers = { 'Content-Type': 'application/sdp' };
    if ($('publish-key').value) headers.Authorization = `Bearer ${$('publish-key').value}`;
    const answer = await fetch(`/whip/${mine.name}`, { method: 'POST', headers, body: mine.pc.localDescription.sdp });
    const text = await answer.text();
    if (answer.status !== 201) {
      let why = `${answer.status} ${answer.statusText}`;
      try { why = JSON.parse(text).detail || why; } catch { /* it is no JSON */ }
      throw new Error(why);
    }
    mine.session = new URL(answer.headers.get('Location'), location.href);
    still();
    await mine.pc.setRemoteDescription({ type: 'answer', sdp: text });
    let before = { bytes: 0, at: performance.now() };
    mine.timer = setInterval(async () => {
      let [bytes, video, trip] = [0, null, NaN];
      for (const s of (await mine.pc.getStats()).values()) {
        if (s.type === 'outbound-rtp') bytes += s.bytesSent || 0;
        if (s.type === 'outbound-rtp' && s.kind === 'video') video = s;
        if (s.type === 'remote-inbound-rtp') trip = s.roundTripTime;
      }
      if (publishing !== mine) return;
      const at = performance.now();
      const parts = [`${mine.name} is published`, `${((bytes - before.bytes) * 8 / (at - before.at) / 1000).toFixed(2)} Mbit/s`];
      before = { bytes, at };
      if (video && video.frameWidth) parts.push(`${video.frameWidth}×${video.frameHeight} ${Math.round(video.framesPerSecond || 0)} fps`);
      if (Number.isFinite(trip)) parts.push(`round trip ${Math.round(trip * 1000)} ms`);
      say(parts.join(' · '));
    }, 1000);
  }

  $('publish').addEventListener('submit', async event => {
    event.preventDefault();
    halt('');
    trouble('');
    say('…');
    $('go').hidden = true;
    $('halt').hidden = false;
    $('halt').focus();
    try {
      await begin();
      say(`${publishing ? publishing.name : ''} is published`);
    } catch (e) {
      publishing ||= {};
      halt('');
      trouble(e.name === 'NotAllowedError' ? 'The browser was not allowed to.' : e.message);
      $('go').focus();
    }
  });
  $('halt').addEventListener('click', () => {
    halt('It is not published any more.');
    $('go').focus();
  });
  addEventListener('pagehide', () => halt(''));
})();
