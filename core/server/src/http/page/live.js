'use strict';
// The page of live streams: what there is, and a player for each of the ways to watch it. What comes from the server is
// shown as text, never as markup.
(() => {
  const $ = id => document.getElementById(id);
  const query = new URLSearchParams(location.search);
  const WAYS = ['hls', 'dash', 'whep'];
  // Seconds within which a new stream gets all of its ways.
  const SOON = 15;
  const video = $('video');
  let key = query.get('key') || sessionStorage.getItem('gs-live-key') || '';
  let streams = [];
  // The server's clock less this browser's, in milliseconds, from the quickest answer so far.
  let clock = { offset: 0, trip: Infinity };
  // What plays: { name, by, stop, latency, levels? }.
  let playing = null;
  let attempts = 0;

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const say = text => put($('message'), text);
  const withKey = url => {
    if (!key) return url;
    const all = new URL(url, location.href);
    all.searchParams.set('key', key);
    return all.origin === location.origin ? all.href : url;
  };
  const bits = rate => rate >= 1e6 ? `${(rate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(rate / 1e3)} kbit/s`;
  const span = seconds => {
    const [h, m, s] = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(Math.floor);
    return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
  };
  const NAMES = { h264: 'H.264', hevc: 'H.265', av1: 'AV1', vp8: 'VP8', vp9: 'VP9', aac: 'AAC', opus: 'Opus' };
  const described = track => {
    const name = NAMES[track.codec] || track.codec;
    if (track.kind === 'video') return `${name} ${track.width}×${track.height}${track.rate ? ` ${Math.round(track.rate)} fps` : ''}`;
    return track.sample_rate ? `${name} ${track.sample_rate / 1000} kHz` : name;
  };

  // ---- the ways to play: each gives { stop, latency, meaning } and says what goes wrong

  async function byHls(stream, failed) {
    if (!window.Hls || !Hls.isSupported()) {
      // Safari plays it itself and tells the date of what it shows.
      video.src = withKey(stream.hls);
      video.onerror = () => failed('this browser cannot play it');
      const latency = () => {
        const start = video.getStartDate ? video.getStartDate().getTime() : NaN;
        return (Date.now() + clock.offset - start) / 1000 - video.currentTime;
      };
      return { latency, meaning: 'since it came to the server (program date-time)', stop() { video.removeAttribute('src'); video.load(); } };
    }
    const hls = new Hls({
      lowLatencyMode: true,
      maxLiveSyncPlaybackRate: 1.5,
      xhrSetup: (xhr, url) => { if (key) xhr.open('GET', withKey(url), true); },
    });
    let recovered = 0;
    hls.on(Hls.Events.ERROR, (_, e) => {
      if (!e.fatal) return;
      if (e.type === Hls.ErrorTypes.MEDIA_ERROR && recovered++ < 3) hls.recoverMediaError();
      else failed(e.details);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      levels(hls.levels.map(l => l.height ? `${l.height}p` : bits(l.bitrate)), i => { hls.nextLevel = i; });
    });
    hls.loadSource(stream.hls);
    hls.attachMedia(video);
    return {
      latency: () => hls.playingDate ? (Date.now() + clock.offset - hls.playingDate) / 1000 : NaN,
      meaning: 'since it came to the server (program date-time)',
      more: () => Number.isFinite(hls.latency) && hls.latency > 0 ? `${hls.latency.toFixed(2)} s behind the playlist's edge` : '',
      stop: () => hls.destroy(),
    };
  }

  // It is larger than everything else together: fetched when it is wanted.
  let dashLoaded = null;
  const dashScript = () => dashLoaded ||= new Promise((done, broken) => {
    const script = make('script', undefined, { src: '/page/dash.min.js' });
    script.onload = done;
    script.onerror = () => { dashLoaded = null; broken(new Error('the player cannot be loaded')); };
    document.head.append(script);
  });

  async function byDash(stream, failed) {
    await dashScript();
    const player = dashjs.MediaPlayer().create();
    // The time comes from here and from nowhere else. Who asks for it in the player is not seen by its interceptors.
    const time = { scheme: 'urn:mpeg:dash:utc:http-iso:2014', value: withKey(stream.dash.replace(/[^/]*$/, 'time')) };
    player.updateSettings({
      debug: { logLevel: 0 },
      streaming: { liveCatchup: { enabled: true }, utcSynchronization: { defaultTimingSource: time } },
    });
    player.on('error', e => failed(e.error.message || String(e.error.code)));
    player.addRequestInterceptor(async request => Object.assign(request, { url: withKey(request.url) }));
    player.on('streamInitialized', () => {
      const all = player.getRepresentationsByType('video');
      levels(all.map(r => r.height ? `${r.height}p` : bits(r.bandwidth)), i => {
        player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: i < 0 } } } });
        if (i >= 0) player.setRepresentationForTypeById('video', all[i].id, true);
      });
    });
    player.initialize(video, new URL(stream.dash, location.href).href, true);
    player.clearDefaultUTCTimingSources();
    player.addUTCTimingSource(time.scheme, time.value);
    return {
      latency: () => player.getCurrentLiveLatency(),
      meaning: 'since it came to the server (availability time)',
      stop: () => player.destroy(),
    };
  }

  async function byWhep(stream, failed) {
    const pc = new RTCPeerConnection();
    const media = new MediaStream();
    let session = null;
    let shown = NaN;
    let over = false;
    const stop = () => {
      over = true;
      pc.close();
      video.srcObject = null;
      if (session) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
    };
    for (const kind of ['video', 'audio']) pc.addTransceiver(kind, { direction: 'recvonly' });
    pc.ontrack = event => media.addTrack(event.track);
    pc.onconnectionstatechange = () => {
      if (!over && pc.connectionState === 'failed') failed('the connection broke off: UDP may not come through');
      if (!over && pc.connectionState === 'closed') failed('the server has ended it');
    };
    video.srcObject = media;
    await pc.setLocalDescription(await pc.createOffer());
    // The server answers to whoever asks: candidates need not be waited for.
    const headers = { 'Content-Type': 'application/sdp' };
    if (key) headers.Authorization = `Bearer ${key}`;
    const answer = await fetch(stream.whep, { method: 'POST', headers, body: pc.localDescription.sdp });
    const text = await answer.text();
    if (answer.status !== 201) {
      stop();
      let why = `${answer.status} ${answer.statusText}`;
      try { why = JSON.parse(text).detail || why; } catch { /* it is no JSON */ }
      throw new Error(why);
    }
    session = new URL(answer.headers.get('Location'), location.href);
    const note = answer.headers.get('ghoststream-note');
    if (note) say(note);
    await pc.setRemoteDescription({ type: 'answer', sdp: text });
    let report = { rate: 0 };
    // Of the picture on the screen: from its arrival here, or from its coming to the server where the browser knows that.
    const late = { here: NaN, whole: NaN };
    const onFrame = (_, frame) => {
      if (over) return;
      const smooth = (old, now) => Number.isFinite(old) ? old + (now - old) / 20 : now;
      const since = time => Number.isFinite(time) ? Math.max(0, frame.expectedDisplayTime - time) / 1000 : NaN;
      late.here = smooth(late.here, since(frame.receiveTime));
      late.whole = smooth(late.whole, since(frame.captureTime));
      video.requestVideoFrameCallback(onFrame);
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(onFrame);
    const look = async () => {
      if (over) return;
      let [pictures, trip, bytes] = [null, 0, 0];
      for (const s of (await pc.getStats()).values()) {
        if (s.type === 'inbound-rtp') bytes += s.bytesReceived || 0;
        if (s.type === 'inbound-rtp' && s.kind === 'video') pictures = s;
        if (s.type === 'candidate-pair' && s.nominated) trip = s.currentRoundTripTime || 0;
      }
      if (!pictures) return;
      const before = report;
      report = {
        at: performance.now(), bytes,
        held: pictures.jitterBufferDelay, emitted: pictures.jitterBufferEmittedCount,
        work: pictures.totalDecodeTime, decoded: pictures.framesDecoded,
      };
      report.rate = before.at ? (bytes - before.bytes) * 8000 / (report.at - before.at) : 0;
      // Browsers that do not tell of single pictures count what the buffer and the decoder took.
      const per = (total, of) => of > 0 ? total / of : 0;
      const counted = per(report.held - (before.held || 0), report.emitted - (before.emitted || 0))
        + per(report.work - (before.work || 0), report.decoded - (before.decoded || 0));
      if (Number.isFinite(late.whole)) shown = late.whole;
      else shown = trip / 2 + (Number.isFinite(late.here) ? late.here : counted);
      if (!report.emitted) shown = NaN;
    };
    const timer = setInterval(look, 500);
    // Which rendition the server sends here, and what it knows of the way.
    const id = session.pathname.split('/').pop().split('-')[0];
    let sent = '';
    const ask = async () => {
      const url = new URL(withKey('/live/sessions'), location.href);
      url.searchParams.set('stream', stream.name);
      url.searchParams.set('id', id);
      const all = await fetch(url, { cache: 'no-store' }).then(a => a.ok ? a.json() : { sessions: [] }).catch(() => ({ sessions: [] }));
      const mine = all.sessions.find(s => s.id === id);
      const parts = [];
      if (mine && mine.rung > 0) parts.push('a smaller rendition');
      if (mine && mine.estimate) parts.push(`room for ${bits(mine.estimate)}`);
      sent = parts.join(' · ');
      if (!over) asking = setTimeout(ask, 5000);
    };
    let asking = setTimeout(ask, 2000);
    return {
      latency: () => shown,
      get meaning() { return Number.isFinite(late.whole) ? 'since it came to the server (sender reports)' : 'half the round trip, and from its arrival here to the screen'; },
      more: () => [report.rate ? bits(report.rate) : '', sent].filter(Boolean).join(' · '),
      stop() { clearInterval(timer); clearTimeout(asking); over = true; stop(); },
    };
  }

  // ---- the player

  function levels(names, choose) {
    const select = $('level');
    const options = names.map((name, i) => [String(i), name]).reverse();
    select.replaceChildren(...[['-1', 'Auto'], ...options].map(([value, text]) => make('option', text, { value })));
    select.onchange = () => choose(Number(select.value));
    $('levels').hidden = names.length < 2;
  }

  function stop() {
    attempts++;
    if (playing && playing.player) playing.player.stop();
    playing = null;
    video.onerror = null;
    $('levels').hidden = true;
  }

  const has = (stream, by) => Boolean(stream && stream[by]);

  async function play(name, wanted) {
    const stream = streams.find(s => s.name === name);
    // HLS and DASH are there a moment after the stream; later, what is not there will not be.
    const soon = stream && stream.uptime !== null && stream.uptime < SOON && !has(stream, wanted);
    const by = soon ? undefined : [wanted, ...WAYS].find(way => has(stream, way));
    stop();
    const attempt = attempts;
    $('player').hidden = false;
    $('player-title').textContent = name;
    $('sessions').replaceChildren();
    say('');
    if (!by) {
      // It may come: the list looks for it.
      playing = { name, by: wanted, waits: true };
      say(stream ? 'It is not ready yet.' : `There is no stream ${name} now.`);
      return draw();
    }
    playing = { name, by, frames: 0, at: performance.now(), stalls: 0 };
    const mine = playing;
    const failed = why => {
      if (attempt !== attempts) return;
      stop();
      playing = { name, by, waits: true };
      say(`It cannot be played on: ${why}`);
    };
    for (const input of document.getElementsByName('by')) input.checked = input.value === by;
    history.replaceState(null, '', `/live?${new URLSearchParams({ stream: name, by })}`);
    draw();
    try {
      const player = await { hls: byHls, dash: byDash, whep: byWhep }[by](stream, failed);
      if (attempt !== attempts) return player.stop();
      mine.player = player;
      who();
      // Sound needs a click somewhere in the page; without one it begins silent.
      await video.play().catch(() => { if (attempt === attempts) { video.muted = true; return video.play().catch(() => {}); } });
    } catch (e) {
      failed(e.message);
    }
  }

  video.addEventListener('waiting', () => { if (playing && playing.frames > 0) playing.stalls++; });

  // Twice a second: how late, how large, how many.
  function measure() {
    const shown = playing && playing.player;
    if (!shown) {
      $('latency').value = '';
      put($('latency'), '–');
      put($('meaning'), '');
      put($('now'), '');
      return;
    }
    const seconds = playing.player.latency();
    const known = Number.isFinite(seconds) && video.readyState > 1;
    $('latency').value = known ? seconds.toFixed(3) : '';
    put($('latency'), !known ? '–' : seconds < 0.2 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`);
    put($('meaning'), known ? playing.player.meaning : '');
    const quality = video.getVideoPlaybackQuality();
    const now = performance.now();
    if (now - playing.at > 1900) {
      playing.fps = (quality.totalVideoFrames - playing.frames) * 1000 / (now - playing.at);
      [playing.frames, playing.at] = [quality.totalVideoFrames, now];
    }
    const parts = [];
    if (video.videoWidth) parts.push(`${video.videoWidth}×${video.videoHeight}`);
    if (playing.fps) parts.push(`${Math.round(playing.fps)} fps`);
    const more = playing.player.more && playing.player.more();
    if (more) parts.push(more);
    parts.push(`${quality.droppedVideoFrames} dropped`, playing.stalls === 1 ? '1 stall' : `${playing.stalls} stalls`);
    put($('now'), parts.join(' · '));
  }

  // ---- who publishes and watches what plays, other than by HLS and DASH

  const amount = bytes => bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.round(bytes / 1e3)} kB`;
  const told = session => {
    const parts = [`${session.protocol.toUpperCase()} · ${session.publishes ? 'publishes' : 'watches'}`];
    if (session.peer) parts.push(session.peer);
    parts.push(`for ${span(session.uptime)}`, `${amount(session.bytes_in)} in, ${amount(session.bytes_out)} out`);
    if (session.rtt_ms !== null) parts.push(`round trip ${session.rtt_ms.toFixed(1)} ms`);
    if (session.loss !== null) parts.push(`${(100 * session.loss).toFixed(1)} % lost`);
    if (session.dropped) parts.push(`${session.dropped} dropped`);
    // Sessions of WebRTC end where they halt.
    if (!session.connected) parts.push(/^wh[ie]p$/.test(session.protocol) ? 'connecting' : 'halted');
    return parts.join(' · ');
  };

  async function who() {
    if (!playing || !$('who').open) return;
    const name = playing.name;
    const url = new URL(withKey('/live/sessions'), location.href);
    url.searchParams.set('stream', name);
    const all = await fetch(url, { cache: 'no-store' }).then(a => a.ok ? a.json() : null).catch(() => null);
    if (!all || !playing || playing.name !== name) return;
    const lines = all.sessions.map(told);
    $('sessions').replaceChildren(...(lines.length ? lines : ['Nobody by RTMP, RTSP, SRT, WHIP or WHEP.']).map(line => make('li', line)));
  }
  $('who').addEventListener('toggle', who);
  setInterval(who, 5000);

  for (const input of document.getElementsByName('by')) {
    input.addEventListener('change', () => { if (playing) play(playing.name, input.value); });
  }
  $('close').addEventListener('click', () => {
    const card = playing && cards.get(playing.name);
    stop();
    $('player').hidden = true;
    history.replaceState(null, '', '/live');
    draw();
    if (card) card.button.focus();
  });

  // ---- the list

  const cards = new Map();

  // Cards stay, so that the focus does.
  function card(name) {
    const item = make('li');
    const button = make('button', undefined, { type: 'button', class: 'card' });
    const [title, facts, more] = [make('strong', name), make('span', '', { class: 'facts' }), make('span', '', { class: 'facts' })];
    const frame = make('span', undefined, { class: 'frame' });
    button.append(frame, title, facts, more);
    button.addEventListener('click', async () => {
      await play(name, playing ? playing.by : 'hls');
      $('player-title').focus({ preventScroll: true });
      $('player').scrollIntoView({ block: 'nearest' });
    });
    item.append(button);
    $('streams').append(item);
    return { item, button, frame, facts, more, looked: 0, loading: false };
  }

  function draw() {
    for (const stream of streams) {
      if (!cards.has(stream.name)) cards.set(stream.name, card(stream.name));
      const one = cards.get(stream.name);
      put(one.facts, stream.tracks.map(described).join(' + ') || 'nobody publishes it now');
      const watching = Object.values(stream.viewers).reduce((sum, n) => sum + n, 0);
      const parts = [];
      if (stream.protocol) parts.push(`by ${stream.protocol.toUpperCase()}`);
      if (stream.bitrate) parts.push(bits(stream.bitrate));
      if (stream.uptime !== null) parts.push(`for ${span(stream.uptime)}`);
      parts.push(watching === 1 ? '1 viewer' : `${watching} viewers`);
      put(one.more, parts.join(' · '));
      one.button.setAttribute('aria-pressed', String(Boolean(playing && playing.name === stream.name)));
      picture(one, stream);
    }
    for (const [name, one] of cards) {
      if (!streams.some(s => s.name === name)) {
        one.item.remove();
        cards.delete(name);
      }
    }
    $('none').hidden = streams.length > 0;
    const stream = playing && streams.find(s => s.name === playing.name);
    for (const input of document.getElementsByName('by')) input.disabled = !has(stream, input.value);
    const links = stream ? [['HLS', stream.hls], ['DASH', stream.dash]].filter(([, url]) => url) : [];
    const text = links.map(([, url]) => withKey(url)).join(' ');
    if ($('addresses').dataset.text !== text) {
      $('addresses').dataset.text = text;
      $('addresses').replaceChildren(...links.flatMap(([name, url]) => [make('a', name, { href: withKey(url) }), ' ']));
    }
  }

  // A new picture takes the old one's place when it is there, so that nothing flickers.
  function picture(one, stream) {
    const now = Date.now();
    const box = one.item.getBoundingClientRect();
    const seen = document.visibilityState === 'visible' && box.bottom > 0 && box.top < innerHeight;
    if (!stream.thumbnail || !seen || one.loading || now - one.looked < 5000) return;
    [one.loading, one.looked] = [true, now];
    const image = new Image();
    image.alt = '';
    image.onload = () => {
      one.loading = false;
      one.frame.replaceChildren(image);
    };
    image.onerror = () => { one.loading = false; };
    const url = new URL(withKey(stream.thumbnail), location.href);
    url.searchParams.set('at', String(now));
    image.src = url.href;
  }

  async function refresh() {
    const asked = performance.now();
    try {
      const answer = await fetch(withKey('/live/streams'), { cache: 'no-store' });
      const trip = performance.now() - asked;
      const body = await answer.json();
      if (answer.status === 403) {
        $('keys').open = true;
        throw new Error("The reader's key is missing or wrong: see below, Key and API.");
      }
      if (!answer.ok) throw new Error(body.detail || answer.statusText);
      if (trip < clock.trip) clock = { trip, offset: body.now * 1000 + trip / 2 - Date.now() };
      streams = body.streams;
      $('publishing').hidden = !body.whip;
      $('publish-key').required = body.publish_key;
      put($('health'), streams.length === 1 ? '1 stream' : `${streams.length} streams`);
      draw();
      // One that ended and comes again, or was not ready, goes on.
      const waited = playing && playing.waits && streams.find(s => s.name === playing.name);
      if (waited && (has(waited, playing.by) || (waited.uptime >= SOON && WAYS.some(way => has(waited, way))))) {
        play(playing.name, playing.by);
      }
    } catch (e) {
      put($('health'), e.message);
    }
  }

  $('access').addEventListener('submit', event => {
    event.preventDefault();
    key = $('key').value;
    sessionStorage.setItem('gs-live-key', key);
    refresh();
  });
  addEventListener('pagehide', stop);
  // For what is published from here.
  addEventListener('gs-watch', event => play(event.detail, playing ? playing.by : 'whep'));

  refresh().then(() => { if (query.get('stream')) play(query.get('stream'), query.get('by') || 'hls'); });
  setInterval(refresh, 2000);
  setInterval(measure, 500);
})();
