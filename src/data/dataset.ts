/** Part of a data set held in memory as bytes; memory is shared with the loader's thread. */
export interface Split {
  readonly count: number;
  /** [N,H,W,3], bytes 0–255, backed by a SharedArrayBuffer. */
  readonly images: Uint8Array;
  /** [N], class indices. */
  readonly labels: Uint16Array;
  /** [N,H,W], 1 on the object; only where the source knows it. */
  readonly masks?: Uint8Array;
}

export interface Dataset {
  readonly name: string;
  readonly classes: readonly string[];
  readonly height: number;
  readonly width: number;
  readonly train: Split;
  readonly test: Split;
  /** SHA-256 of classes, sizes, images and labels: two runs are comparable when it is the same. */
  readonly fingerprint: string;
}

/** A training set divided into the part trained on and the part that judges, both by index into the training split. */
export interface Division {
  readonly train: Uint32Array;
  readonly validation: Uint32Array;
}

/** Per-channel affine normalisation in units of bytes/255: (value/255 − mean) / std. */
export interface Normalization {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}
