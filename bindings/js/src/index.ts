/** Client of the GhostStream transcoding server. Names of answers are those of the wire. */

/** The life of a job: `queued`, `processing`, then one of the other three. */
export type JobStatus = "queued" | "processing" | "ready" | "error" | "cancelled";

/** What a transcode is asked for; what is left out is the server's default. */
export interface TranscodeOptions {
  /** A URL that the server can reach, or a path on it. */
  source: string;
  /** One stream, a ladder of renditions, or a file. */
  mode?: "stream" | "abr" | "batch";
  format?: "hls" | "dash" | "mp4" | "webm" | "mkv";
  videoCodec?: "h264" | "h265" | "vp9" | "av1" | "copy";
  audioCodec?: "aac" | "opus" | "mp3" | "flac" | "ac3" | "copy";
  resolution?: "4k" | "1080p" | "720p" | "480p" | "original";
  /** `auto`, or a rate such as `8M` or `3000k`. */
  bitrate?: string;
  hwAccel?: "auto" | "nvenc" | "qsv" | "vaapi" | "videotoolbox" | "amf" | "software";
  /** Seconds. */
  startTime?: number;
  toneMap?: boolean;
  twoPass?: boolean;
  maxAudioChannels?: number;
  /** The viewer, for streams that several watch. */
  sessionId?: string;
  subtitles?: { url: string; label?: string; language?: string; default?: boolean; burn_in?: boolean }[];
  /** What the player plays: it is given the source as it is, or copied, where that fits. */
  profile?: ClientProfile;
  priority?: "low" | "normal" | "high";
  /** Recorded sources are made when a player asks for them, or from the beginning on. */
  playback?: "on_demand" | "growing";
  /** Called by the server when the job is ready or has failed. */
  callbackUrl?: string;
}

/** What a player plays. */
export interface ClientProfile {
  containers?: string[];
  video_codecs?: string[];
  audio_codecs?: string[];
  max_width?: number;
  max_height?: number;
  /** Of everything together, such as `8M`. */
  max_bitrate?: string;
  hdr?: boolean;
}

/** A job as the server told it last. Times are seconds. */
export interface Job {
  job_id: string;
  status: JobStatus;
  /** Percent. */
  progress: number;
  current_time?: number;
  duration: number | null;
  stream_url: string | null;
  download_url: string | null;
  eta_seconds: number | null;
  hw_accel_used: string | null;
  error_message: string | null;
  start_time: number;
  is_shared: boolean;
  viewer_count: number;
  created_at?: string | null;
  started_at?: string | null;
  completed_at?: string | null;
  control_token?: string;
  mode?: string;
  /** Fallbacks, ignored fields and what limits took away. */
  warnings?: string[];
  /** What has to happen before it goes on: a free place, its next try, the end of a more urgent job. */
  waiting_for?: string | null;
  /** How the source reaches the player, and why. */
  playback?: { method: "direct" | "remux" | "transcode"; reason: string } | null;
}

/** Whether the server is well, and how busy. */
export interface Health {
  status: string;
  version: string;
  uptime_seconds: number;
  current_jobs: number;
  queued_jobs: number;
}

/** One kind of encoder. */
export interface HardwareAcceleration {
  type: string;
  available: boolean;
  encoders: string[];
  decoders: string[];
  gpu_info?: { name: string; memory_mb?: number; driver_version?: string; cuda_version?: string } | null;
  device_path?: string | null;
}

/** What the server can do. */
export interface Capabilities {
  hw_accels: HardwareAcceleration[];
  video_codecs: string[];
  audio_codecs: string[];
  formats: string[];
  max_concurrent_jobs: number;
  ffmpeg_version: string;
  platform: string;
}

/** Something that happened to a job. */
export type ProgressEvent =
  | {
      type: "progress";
      job_id: string;
      data: { progress: number; frame?: number; fps?: number; time: number; speed?: number };
    }
  | { type: "status_change"; job_id: string; data: { status: JobStatus } }
  /** The job makes less for the state of the machine, or no longer does: what bit rates are multiplied with, steps towards faster
   * presets, and whether the top rung is left out. */
  | { type: "adaptation"; job_id: string; data: { quality_factor: number; faster: number; drop_top: boolean } };

/** How a client behaves. */
export interface ClientOptions {
  /** Milliseconds that an answer may take (30000). */
  timeout?: number;
  /** How often a request is repeated after a failed connection and after 502, 503 and 504 (3). */
  retries?: number;
  /** Milliseconds before the first repetition; each further one waits twice as long (1000). */
  retryDelay?: number;
  /** For servers that ask for one. */
  apiKey?: string;
  /** The WebSocket to use where the platform has none. */
  webSocket?: typeof WebSocket;
}

/** A request that failed. */
export class GhostStreamError extends Error {
  /** The HTTP status; 0 without an answer. */
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.name = "GhostStreamError";
    this.status = status;
  }
}

const OVER: readonly JobStatus[] = ["ready", "error", "cancelled"];
const sleep = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

/** Talks to one server. */
export class GhostStreamClient {
  readonly baseUrl: string;
  readonly #options: { timeout: number; retries: number; retryDelay: number; apiKey?: string };
  readonly #webSocket: typeof WebSocket | undefined;
  readonly #tokens = new Map<string, string>();

  /** `server` is `host:port` or a URL. Throws a `TypeError` when it is neither. */
  constructor(server: string, options: ClientOptions = {}) {
    const url = new URL(server.includes("://") ? server : `http://${server}`);
    this.baseUrl = url.href.replace(/\/+$/, "");
    const { webSocket, ...rest } = options;
    this.#options = { timeout: 30_000, retries: 3, retryDelay: 1_000, ...rest };
    this.#webSocket = webSocket ?? globalThis.WebSocket;
  }

  /** Whether the server answers that it is healthy. */
  async healthCheck(): Promise<boolean> {
    try {
      return (await this.getHealth()).status === "healthy";
    } catch (e) {
      if (e instanceof GhostStreamError) return false;
      throw e;
    }
  }

  /** Whether the server is well, and how busy. */
  getHealth(): Promise<Health> {
    return this.#request("GET", "/api/health");
  }

  /** What the server can do. */
  getCapabilities(): Promise<Capabilities> {
    return this.#request("GET", "/api/capabilities");
  }

  /** Asks for a job. */
  async transcode(options: TranscodeOptions): Promise<Job> {
    const body = {
      source: options.source,
      mode: options.mode,
      output: {
        format: options.format,
        video_codec: options.videoCodec,
        audio_codec: options.audioCodec,
        resolution: options.resolution,
        bitrate: options.bitrate,
        hw_accel: options.hwAccel,
        tone_map: options.toneMap,
        two_pass: options.twoPass,
        max_audio_channels: options.maxAudioChannels,
      },
      start_time: options.startTime,
      session_id: options.sessionId,
      subtitles: options.subtitles,
      callback_url: options.callbackUrl,
      profile: options.profile,
      priority: options.priority,
      playback: options.playback,
    };
    return this.#keep(await this.#request("POST", "/api/transcode/start", { body, repeat: false }));
  }

  /** The job now. */
  async getJobStatus(jobId: string): Promise<Job> {
    return this.#keep(await this.#ofJob("GET", jobId, "/status"));
  }

  /**
   * Waits until the job is over or can be played (it has a stream and 5 % of it), whichever is first.
   *
   * @param timeout milliseconds; a `GhostStreamError` is thrown after them.
   */
  async waitForReady(jobId: string, timeout = 300_000, pollInterval = 1_000): Promise<Job> {
    const deadline = Date.now() + timeout;
    for (;;) {
      const job = await this.getJobStatus(jobId);
      if (OVER.includes(job.status)) return job;
      if (job.status === "processing" && job.stream_url && job.progress > 5) return job;
      if (Date.now() + pollInterval > deadline) {
        throw new GhostStreamError(`${jobId}: not ready within ${timeout} ms`, 0);
      }
      await sleep(pollInterval);
    }
  }

  /** Whether the job was cancelled; `false` when it was over. */
  async cancelJob(jobId: string): Promise<boolean> {
    return this.#done("POST", jobId, "/cancel");
  }

  /** Whether the job and its files were deleted; `false` when there is none. */
  async deleteJob(jobId: string): Promise<boolean> {
    const deleted = await this.#done("DELETE", jobId, "");
    if (deleted) this.#tokens.delete(jobId);
    return deleted;
  }

  /** Says that a viewer is gone. */
  leaveStream(jobId: string, sessionId?: string): Promise<{ viewers_remaining: number; is_shared: boolean }> {
    return this.#ofJob("POST", jobId, "/leave", sessionId === undefined ? undefined : { session_id: sessionId });
  }

  /** What happens to the jobs, until all of them are over or the loop is left. */
  async *subscribeProgress(jobIds: string | string[]): AsyncGenerator<ProgressEvent, void, void> {
    const ids = typeof jobIds === "string" ? [jobIds] : [...jobIds];
    yield* this.#webSocket ? this.#pushed(this.#webSocket, ids) : this.#polled(ids);
  }

  async *#pushed(Socket: typeof WebSocket, ids: string[]): AsyncGenerator<ProgressEvent, void, void> {
    const url = new URL(`${this.baseUrl}/ws/progress`.replace(/^http/, "ws"));
    if (this.#options.apiKey) url.searchParams.set("api_key", this.#options.apiKey);
    const socket = new Socket(url);
    const queue: (Record<string, unknown> | Error)[] = [];
    let wake = () => {};
    const put = (item: Record<string, unknown> | Error) => {
      queue.push(item);
      wake();
    };
    socket.onmessage = (message) => put(JSON.parse(String(message.data)));
    socket.onclose = (close) => put(new GhostStreamError(`the connection was closed (${close.code})`, 0));
    socket.onopen = () => {
      const tokens = Object.fromEntries(ids.flatMap((id) => (this.#tokens.has(id) ? [[id, this.#tokens.get(id)]] : [])));
      const job_tokens = Object.keys(tokens).length ? tokens : undefined;
      socket.send(JSON.stringify({ type: "subscribe", job_ids: ids, job_tokens }));
      put({ type: "open" });
    };
    const left = new Set(ids);
    try {
      while (left.size) {
        while (!queue.length) await new Promise<void>((done) => (wake = done));
        const item = queue.shift()!;
        if (item instanceof Error) throw item;
        if (item.type === "ping") {
          socket.send(JSON.stringify({ type: "pong" }));
        } else if (item.type === "open") {
          // What ended before the subscription sends no event any more.
          for (const id of ids) {
            const job = await this.#known(id);
            if (OVER.includes(job)) {
              left.delete(id);
              yield { type: "status_change", job_id: id, data: { status: job } };
            }
          }
        } else if (typeof item.job_id === "string" && left.has(item.job_id)) {
          const event = item as unknown as ProgressEvent;
          if (event.type === "status_change" && OVER.includes(event.data.status)) left.delete(event.job_id);
          yield event;
        }
      }
    } finally {
      socket.onclose = null;
      socket.close();
    }
  }

  async *#polled(ids: string[]): AsyncGenerator<ProgressEvent, void, void> {
    const before = new Map<string, Job>();
    let left = ids;
    while (left.length) {
      for (const id of left) {
        const job = await this.getJobStatus(id).catch(gone);
        const status = job?.status ?? "cancelled";
        const last = before.get(id);
        if (last?.status !== status) yield { type: "status_change", job_id: id, data: { status } };
        if (!job || OVER.includes(status)) {
          left = left.filter((other) => other !== id);
          continue;
        }
        if (last?.progress !== job.progress) {
          yield { type: "progress", job_id: id, data: { progress: job.progress, time: job.current_time ?? 0 } };
        }
        before.set(id, job);
      }
      if (left.length) await sleep(500);
    }
  }

  /** The job's status; a job that is not known any more was cancelled or deleted. */
  async #known(jobId: string): Promise<JobStatus> {
    return (await this.getJobStatus(jobId).catch(gone))?.status ?? "cancelled";
  }

  #keep(job: Job): Job {
    if (job.control_token) this.#tokens.set(job.job_id, job.control_token);
    return job;
  }

  async #done(method: string, jobId: string, action: string): Promise<boolean> {
    try {
      await this.#ofJob(method, jobId, action);
      return true;
    } catch (e) {
      if (e instanceof GhostStreamError && (e.status === 400 || e.status === 404)) return false;
      throw e;
    }
  }

  #ofJob<T>(method: string, jobId: string, action: string, body?: unknown): Promise<T> {
    const token = this.#tokens.get(jobId);
    const headers: Record<string, string> = token ? { "X-GhostStream-Control-Token": token } : {};
    return this.#request(method, `/api/transcode/${encodeURIComponent(jobId)}${action}`, { body, headers });
  }

  async #request<T>(
    method: string,
    path: string,
    { body, headers = {}, repeat = true }: { body?: unknown; headers?: Record<string, string>; repeat?: boolean } = {},
  ): Promise<T> {
    const { timeout, retries, retryDelay, apiKey } = this.#options;
    const sent: Record<string, string> = { ...headers };
    if (apiKey) sent["X-API-Key"] = apiKey;
    if (body !== undefined) sent["Content-Type"] = "application/json";
    const init: RequestInit = { method, headers: sent };
    if (body !== undefined) init.body = JSON.stringify(body);
    for (let attempt = 0; ; attempt++) {
      let failure: GhostStreamError;
      try {
        const response = await fetch(this.baseUrl + path, { ...init, signal: AbortSignal.timeout(timeout) });
        const answer: unknown = await response.json().catch(() => undefined);
        if (response.ok && answer !== undefined) return answer as T;
        failure = new GhostStreamError(reason(answer) ?? `status ${response.status}`, response.status);
        if (![502, 503, 504].includes(response.status)) throw failure;
      } catch (e) {
        if (e instanceof GhostStreamError) throw e;
        failure = new GhostStreamError(`${this.baseUrl}: ${cause(e)}`, 0);
        if (!repeat) throw failure;
      }
      if (attempt >= retries) throw failure;
      await sleep(retryDelay * 2 ** attempt);
    }
  }
}

/** A job that the server does not know is no failure of the connection. */
function gone(e: unknown): undefined {
  if (e instanceof GhostStreamError && (e.status === 404 || e.status === 403)) return undefined;
  throw e;
}

/** The reason in an answer: text, or one entry for each field. */
function reason(answer: unknown): string | undefined {
  const detail = (answer as { detail?: unknown } | undefined)?.detail;
  if (typeof detail === "string") return detail;
  if (!Array.isArray(detail)) return undefined;
  return detail.map((d: { loc?: unknown[]; msg?: string }) => `${d.loc?.join(".")}: ${d.msg}`).join("; ");
}

function cause(e: unknown): string {
  if (!(e instanceof Error)) return String(e);
  return e.cause instanceof Error ? e.cause.message : e.message;
}
