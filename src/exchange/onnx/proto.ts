import protobuf from "protobufjs";

/** What is used here of ONNX' messages (onnx/onnx.proto, IR version 8), by its names and numbers. */
const SCHEMA = `
syntax = "proto2";
message Attribute {
  optional string name = 1; optional float f = 2; optional int64 i = 3; optional bytes s = 4;
  optional Tensor t = 5; repeated float floats = 7; repeated int64 ints = 8; optional int32 type = 20;
}
message Value { optional string name = 1; optional Type type = 2; }
message Node {
  repeated string input = 1; repeated string output = 2; optional string name = 3; optional string op_type = 4;
  repeated Attribute attribute = 5;
}
message Model {
  optional int64 ir_version = 1; optional string producer_name = 2; optional string producer_version = 3;
  optional string doc_string = 6; optional Graph graph = 7; repeated Opset opset_import = 8;
  repeated Entry metadata_props = 14;
}
message Entry { optional string key = 1; optional string value = 2; }
message Graph {
  repeated Node node = 1; optional string name = 2; repeated Tensor initializer = 5;
  repeated Value input = 11; repeated Value output = 12;
}
message Tensor { repeated int64 dims = 1; optional int32 data_type = 2; optional string name = 8; optional bytes raw_data = 9; }
message Dimension { optional int64 dim_value = 1; optional string dim_param = 2; }
message Shape { repeated Dimension dim = 1; }
message TensorType { optional int32 elem_type = 1; optional Shape shape = 2; }
message Type { optional TensorType tensor_type = 1; }
message Opset { optional string domain = 1; optional int64 version = 2; }
`;

const Model = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType("Model");

export const FLOAT = 1;
export const INT64 = 7;

/** A tensor's values, little-endian. */
export interface TensorProto {
  readonly name?: string;
  readonly dims: readonly number[];
  readonly data_type: number;
  readonly raw_data: Uint8Array;
}

export interface AttributeProto {
  readonly name: string;
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly s?: Uint8Array;
  readonly t?: TensorProto;
  readonly ints?: readonly number[];
}

export interface NodeProto {
  readonly op_type: string;
  readonly name: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly AttributeProto[];
}

export interface ValueProto {
  readonly name: string;
  readonly type: {
    readonly tensor_type: {
      readonly elem_type: number;
      readonly shape: { readonly dim: readonly ({ dim_value: number } | { dim_param: string })[] };
    };
  };
}

export interface ModelProto {
  readonly ir_version: number;
  readonly producer_name: string;
  readonly producer_version: string;
  readonly doc_string: string;
  readonly opset_import: readonly { readonly domain: string; readonly version: number }[];
  readonly metadata_props: readonly { readonly key: string; readonly value: string }[];
  readonly graph: {
    readonly name: string;
    readonly node: readonly NodeProto[];
    readonly initializer: readonly TensorProto[];
    readonly input: readonly ValueProto[];
    readonly output: readonly ValueProto[];
  };
}

export function encodeModel(model: ModelProto): Uint8Array {
  return Model.encode(model).finish();
}
