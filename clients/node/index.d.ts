/** One text, or any number of them. */
export type Texts = string | Iterable<string>;

/** Numbers of one text. */
export type Vector = Float32Array | readonly number[];

/** What becomes of a text longer than the model reads: lose its end or start, be read in chunks, or be refused. */
export type Truncation = "end" | "start" | "chunk" | "error";

export interface Me5ClientOptions {
  /** Where `me5 serve` listens; a `/v1` at the end is allowed. Default `http://127.0.0.1:8080`. */
  baseUrl?: string;
  /** Default: the environment's `ME5_API_KEY`. */
  apiKey?: string;
  /** Default: the service's own. */
  model?: string;
  /** Default: the service's own. */
  truncation?: Truncation;
  /** Texts per request; of long texts fewer are sent. Default 128. */
  batchSize?: number;
  /** Milliseconds for one reply. Default 300,000, which is also the most that Node's `fetch` waits. */
  timeout?: number;
  /** How often a request is tried again after a lost connection or a 429, 502 or 503. Default 4. */
  retries?: number;
  /** Requests that a large input keeps going at once. Default 4. */
  concurrency?: number;
  /** Told, in one sentence, of every retry, of texts that were cut, and of the service's warnings. Default: `console.warn`. */
  warn?: (message: string) => void;
}

export interface CallOptions {
  /** Ends the call, waits between tries included; the promise is rejected with the signal's reason. */
  signal?: AbortSignal;
}

export interface TaskOptions extends CallOptions {
  /** A name that `GET /v1/tasks` lists, or a sentence. Instruct models only. Default: the model's own task. */
  task?: string;
}

/** What the service tells of itself; further fields are those of text-embeddings-inference. */
export interface Info {
  model_id: string;
  dim: number;
  precision: string;
  max_input_length: number;
  [field: string]: unknown;
}

export interface SearchOptions extends TaskOptions {
  /** How many passages, at most 100. Default 10. */
  k?: number;
  /** What ranks: vectors and words together (the default), or one of them. */
  by?: "both" | "vectors" | "words";
  /** Weight of the vectors where both rank. */
  weight?: number;
  /** Only passages in these languages, such as `de`. */
  language?: string[];
  /** Only passages whose source holds this. */
  source?: string;
  /** A filter over the columns, such as `kind = 'pdf'`. */
  filter?: string;
  /** Only the best passage of each document. */
  group?: "document";
  /** List near copies of a better passage in its `also`. Default true. */
  fold?: boolean;
  /** Find the best sentence of each passage. Default true. */
  highlight?: boolean;
  /** Only passages that answer at least so probably, 0 to 1; the store or its model needs a calibration. */
  min_probability?: number;
  /** Only passages above the cut that keeps the share of irrelevant ones at this. */
  max_risk?: number;
}

/**
 * A passage; `best` are the ends of its best sentence within `text`, in code points. `probability` is what a calibration
 * makes of `cosine`, `percentile` the per cent of random pairs that lie below it; null where there is none.
 */
export interface Hit {
  score: number;
  source: string;
  title: string;
  text: string;
  start: number;
  end: number;
  at: number | null;
  language: string;
  kind: string;
  metadata: Record<string, unknown>;
  id: string;
  best: [number, number] | null;
  cosine: number | null;
  probability: number | null;
  percentile: number | null;
  also: { source: string; place: string }[];
  place: string;
}

/** The best passages, best first; `left_out` counts hits that the reply had no room for. */
export interface Found {
  hits: Hit[];
  language: string;
  passages: number;
  left_out: number;
  [field: string]: unknown;
}

/** A row for each query; `ranking` lists the documents, best first. */
export interface Scored {
  scores: number[][];
  ranking: number[][];
  /** There where the model has a calibration for this task. */
  probabilities?: number[][];
  [field: string]: unknown;
}

export interface RerankOptions extends CallOptions {
  /** How many documents, from the best on. Default: all. */
  top?: number;
  /** The model's logits, not scores from 0 to 1. */
  raw?: boolean;
}

/** A document by its place in the list that was given. */
export interface Ranked {
  index: number;
  score: number;
}

/** What the store of a service holds. */
export interface Stored {
  model: string;
  passages: number;
  languages: Record<string, number>;
  kinds: Record<string, number>;
  /** Whether searches tell probabilities, and take `min_probability`. */
  calibrated: boolean;
  [field: string]: unknown;
}

/**
 * A me5 service. Vectors have unit length and come in input order. Calls reject with a `TypeError` for what is no text,
 * with the signal's reason when they are aborted, and with a `Me5Error` for everything else that goes wrong.
 */
export class Me5Client {
  constructor(options?: Me5ClientOptions);
  readonly baseUrl: string;
  /** Vectors of search queries. */
  encodeQuery(texts: Texts, options?: TaskOptions): Promise<Float32Array[]>;
  /** Vectors of the texts that are searched. */
  encodeDocument(texts: Texts, options?: CallOptions): Promise<Float32Array[]>;
  /** Vectors for symmetric use: similarity, bitext, clustering, classification. */
  encode(texts: Texts, options?: TaskOptions): Promise<Float32Array[]>;
  /** `GET /info`. */
  info(options?: CallOptions): Promise<Info>;
  /** The passages that answer a question best, of a service started with `--search`. */
  search(question: string, options?: SearchOptions): Promise<Found>;
  /** Every query beside every document: scores × 100, and their probabilities where the model has a calibration. */
  score(queries: Texts, documents: Texts, options?: TaskOptions): Promise<Scored>;
  /** The documents from the best on, as a cross-encoder reads each beside the query; of a service started with `--reranker`. */
  rerank(query: string, documents: Texts, options?: RerankOptions): Promise<Ranked[]>;
  /** What the store of such a service holds. */
  store(options?: CallOptions): Promise<Stored>;
}

/** Cosines of every vector of `left` with every one of `right`: a row per vector of `left`. */
export function similarity(left: readonly Vector[], right: readonly Vector[]): number[][];

/** What the service refused, or that it could not be reached. */
export class Me5Error extends Error {
  constructor(message: string, options?: { status?: number | null; tries?: number; cause?: unknown });
  /** The last HTTP status; null where no reply came. */
  readonly status: number | null;
  /** How often the service was asked. */
  readonly tries: number;
}
