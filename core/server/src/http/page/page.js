'use strict';
// The built-in page. Everything that comes from the server is shown as text, never as markup.
(() => {
  const $ = id => document.getElementById(id);
  const tokens = new Map();
  let key = sessionStorage.getItem('gs-key') || '';
  let hls = null;
  let watching = null;
  let jobs = [];
  let lastLine = 0;

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  const headers = job => {
    const all = {};
    if (key) all['X-API-Key'] = key;
    if (job && tokens.has(job)) all['X-GhostStream-Control-Token'] = tokens.get(job);
    return all;
  };

  async function ask(path, options = {}, job) {
    const answer = await fetch(path, { ...options, headers: { ...options.headers, ...headers(job) } });
    const body = await answer.json().catch(() => null);
    if (answer.ok) return body;
    if (answer.status === 401) throw new Error('The API key is missing or wrong: see below, Key and API.');
    const detail = body && body.detail;
    const text = Array.isArray(detail)
      ? detail.map(e => `${e.loc.slice(1).join('.')}: ${e.msg}`).join('; ')
      : detail || `${answer.status} ${answer.statusText}`;
    throw new Error(text);
  }

  const say = text => { $('message').textContent = text; };

  // ---- playing

  function stop() {
    if (hls) hls.destroy();
    hls = null;
  }

  // The address as this page reaches the server, which may differ from the advertised one.
  const here = url => {
    const there = new URL(url, location.href);
    return there.pathname + there.search;
  };

  function play(job, url) {
    stop();
    watching = job;
    const video = $('video');
    video.hidden = false;
    $('playing').hidden = false;
    $('level').replaceChildren();
    const address = here(url);
    if (window.Hls && Hls.isSupported()) {
      hls = new Hls({
        // The first playlist may take as long as the encoder needs for one segment.
        manifestLoadPolicy: { default: { maxTimeToFirstByteMs: 60000, maxLoadTimeMs: 60000, timeoutRetry: { maxNumRetry: 3, retryDelayMs: 500, maxRetryDelayMs: 4000 }, errorRetry: { maxNumRetry: 5, retryDelayMs: 500, maxRetryDelayMs: 4000 } } },
        xhrSetup: xhr => { for (const [name, value] of Object.entries(headers(job))) xhr.setRequestHeader(name, value); },
        startPosition: 0,
      });
      hls.on(Hls.Events.MANIFEST_PARSED, () => {
        const name = level => level.height ? `${level.height}p` : `${Math.round(level.bitrate / 1000)} kbit/s`;
        const options = hls.levels.map((level, i) => [String(i), name(level)]).reverse();
        $('level').replaceChildren(...[['-1', 'Auto'], ...options].map(([value, text]) => make('option', text, { value })));
        video.play().catch(() => {});
      });
      hls.on(Hls.Events.ERROR, (_, e) => {
        if (!e.fatal) return;
        if (e.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
        else failed(job, e.details);
      });
      hls.loadSource(address);
      hls.attachMedia(video);
    } else {
      video.src = address;
      video.onerror = () => failed(job, 'this browser cannot play it');
      video.play().catch(() => {});
    }
    video.focus({ preventScroll: false });
  }

  // The job knows better than the player why there is nothing to play.
  async function failed(job, details) {
    try {
      const status = await ask(`/api/transcode/${job}/status`, {}, job);
      say(status.error_message || `It cannot be played: ${details}`);
    } catch (e) {
      say(e.message);
    }
  }

  $('level').addEventListener('change', event => { if (hls) hls.currentLevel = Number(event.target.value); });

  $('start').addEventListener('submit', async event => {
    event.preventDefault();
    say('');
    const body = {
      source: $('source').value.trim(),
      mode: $('mode').value,
      start_time: Number($('begin').value) || 0,
      session_id: session(),
      output: { resolution: $('resolution').value, video_codec: $('codec').value },
    };
    // Browsers play H.265 and AV1 from fMP4 only.
    if ($('codec').value !== 'h264') body.output.format = 'mp4';
    const subtitles = $('subtitles').value.trim();
    if (subtitles) body.subtitles = [{ url: subtitles, label: 'Subtitles', default: true }];
    try {
      const job = await ask('/api/transcode/start', {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
      });
      tokens.set(job.job_id, job.control_token);
      if (job.warnings.length) say(job.warnings.join('; '));
      play(job.job_id, job.stream_url);
      refresh();
    } catch (e) {
      say(e.message);
    }
  });

  function session() {
    let id = sessionStorage.getItem('gs-session');
    if (!id) {
      id = `page-${Math.random().toString(36).slice(2)}`;
      sessionStorage.setItem('gs-session', id);
    }
    return id;
  }

  // ---- jobs

  const act = async (job, method, path, done) => {
    say('');
    try {
      await ask(path, { method }, job);
      if (watching === job && done) { stop(); $('video').hidden = true; $('playing').hidden = true; watching = null; }
    } catch (e) {
      say(e.message);
    }
    refresh();
  };

  // Rows stay, so that the focus does.
  function row(job) {
    const item = make('li');
    item.dataset.job = job.job_id;
    const bar = make('progress', undefined, { max: '100', 'aria-label': 'Progress' });
    const actions = make('div', undefined, { class: 'actions' });
    const button = (text, action) => {
      const b = make('button', text, { type: 'button' });
      b.addEventListener('click', () => action());
      actions.append(b);
      return b;
    };
    item.append(make('div', job.source, { class: 'source' }), make('div', '', { class: 'facts' }), bar, actions);
    item.watch = button('Watch', () => play(job.job_id, item.url));
    item.save = button('Download', () => { location.href = here(item.url); });
    item.cancel = button('Cancel', () => act(job.job_id, 'POST', `/api/transcode/${job.job_id}/cancel`, true));
    button('Delete', () => act(job.job_id, 'DELETE', `/api/transcode/${job.job_id}`, true));
    return item;
  }

  function draw() {
    const list = $('jobs');
    const rows = new Map([...list.children].map(item => [item.dataset.job, item]));
    for (const job of jobs) {
      const item = rows.get(job.job_id) || row(job);
      rows.delete(job.job_id);
      if (!item.parentNode) list.prepend(item);
      const [, facts, bar] = item.children;
      const parts = [job.status, job.mode, `${job.progress.toFixed(0)} %`];
      if (job.hw_accel_used) parts.push(job.hw_accel_used);
      if (job.speed) parts.push(`${job.speed.toFixed(1)}×`);
      if (job.viewer_count) parts.push(job.viewer_count === 1 ? '1 viewer' : `${job.viewer_count} viewers`);
      if (job.error_message) parts.push(job.error_message);
      if (job.waiting_for) parts.push(`waits for ${job.waiting_for}`);
      const text = parts.join(' · ');
      if (facts.textContent !== text) facts.textContent = text;
      bar.value = job.progress;
      bar.hidden = job.status !== 'processing' && job.status !== 'queued';
      item.url = job.stream_url || job.download_url;
      item.watch.hidden = !job.stream_url || job.status === 'error' || job.status === 'cancelled';
      item.save.hidden = !job.download_url;
      item.cancel.hidden = job.status !== 'processing' && job.status !== 'queued';
      if (job.job_id === watching) $('now').textContent = text;
    }
    for (const item of rows.values()) item.remove();
    $('no-jobs').hidden = jobs.length > 0;
  }

  async function refresh() {
    try {
      jobs = (await ask('/api/transcode/jobs')).jobs.slice(0, 50);
      draw();
    } catch (e) {
      say(e.message);
    }
  }

  // ---- the machine

  const entry = (name, value, share) => {
    const cell = make('dd', value);
    if (share !== undefined) {
      const meter = make('meter', undefined, { min: '0', max: '100', high: '85', optimum: '0', 'aria-label': name });
      meter.value = share;
      cell.append(meter);
    }
    return [make('dt', name), cell];
  };

  async function look() {
    try {
      const health = await ask('/api/health');
      $('health').textContent = `${health.version} · up ${Math.round(health.uptime_seconds / 60)} min · ${health.current_jobs} running, ${health.queued_jobs} waiting`;
      const status = await ask('/api/status');
      const { realtime, jobs: limits, hardware } = status;
      const percent = value => `${value.toFixed(0)} %`;
      const load = [
        ...entry('CPU', percent(realtime.cpu_percent), realtime.cpu_percent),
        ...entry('Memory', percent(realtime.memory_percent), realtime.memory_percent),
      ];
      if (realtime.gpu_percent !== null) load.push(...entry('GPU', percent(realtime.gpu_percent), realtime.gpu_percent));
      if (realtime.gpu_temperature_c !== null) load.push(...entry('GPU temperature', `${realtime.gpu_temperature_c} °C`));
      load.push(
        ...entry('Trend', realtime.load_trend + (realtime.is_overloaded ? ', overloaded' : '')),
        ...entry('Jobs at once', String(limits.max_concurrent_jobs)),
        ...entry('Quality', percent(limits.quality_factor * 100)),
      );
      $('load').replaceChildren(...load);
      const power = hardware.is_laptop ? `laptop on ${hardware.power_source}` : hardware.power_source;
      $('hardware').replaceChildren(
        ...entry('Tier', hardware.tier),
        ...entry('GPU', hardware.gpu_name || 'none that encodes'),
        ...entry('Encoder', hardware.recommended_encoder),
        ...entry('Power', power),
        ...entry('Kinds', health.hw_accels.join(', ') || '…'),
      );
      const lines = await ask(`/api/logs?after=${lastLine}`);
      if (lines.length) {
        const log = $('log');
        const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
        lastLine = lines[lines.length - 1].number;
        const all = (log.textContent + lines.map(l => l.text + '\n').join('')).split('\n');
        log.textContent = all.slice(-300).join('\n');
        if (atEnd) log.scrollTop = log.scrollHeight;
      }
    } catch (e) {
      $('health').textContent = e.message;
    }
  }

  // ---- progress as it happens

  function listen(wait = 500) {
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws/progress`);
    socket.onopen = () => {
      wait = 500;
      socket.send(JSON.stringify({ type: 'identify', client: 'page' }));
    };
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === 'ping') socket.send(JSON.stringify({ type: 'pong', ts: event.ts }));
      const job = jobs.find(j => j.job_id === event.job_id);
      if (event.type === 'progress' && job) {
        Object.assign(job, { progress: event.data.progress, speed: event.data.speed, status: 'processing' });
        draw();
      } else if (event.type === 'status_change') {
        refresh();
      }
    };
    socket.onclose = () => setTimeout(() => listen(Math.min(wait * 2, 15000)), wait);
  }

  $('access').addEventListener('submit', event => {
    event.preventDefault();
    key = $('key').value;
    sessionStorage.setItem('gs-key', key);
    say('');
    refresh();
    look();
  });

  $('source').value = new URLSearchParams(location.search).get('source') || '';
  refresh();
  look();
  listen();
  setInterval(look, 3000);
  setInterval(refresh, 10000);
})();
