/** What an ONNX file says of itself: its metadata_props, field 14 of onnx.proto's ModelProto; the values are JSON. */
export function metadataOf(bytes) {
  const text = new TextDecoder();
  const found = {};
  for (const [field, entry] of fieldsOf(bytes)) {
    if (field !== 14) continue;
    const { 1: key, 2: value } = Object.fromEntries(fieldsOf(entry));
    found[text.decode(key)] = JSON.parse(text.decode(value));
  }
  return found;
}

/** Number and bytes of every field of a protobuf message that holds bytes. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let [value, scale, byte] = [0, 1, 128];
    for (; byte >= 128; scale *= 128) {
      byte = bytes[at++];
      value += (byte & 127) * scale;
    }
    return value;
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag % 8 === 0) varint();
    else if (tag % 8 === 1) at += 8;
    else if (tag % 8 === 5) at += 4;
    else {
      const length = varint();
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    }
  }
}
