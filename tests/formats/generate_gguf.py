"""Writes data/types.gguf, which tests/formats/gguf_test.cpp reads.

For each element type T there are "T" and the floats that gguf-py reads in it, "T.float"; "input" and what gguf-py
makes of it in the types that attune writes, "input.T". Made with gguf 0.19.0, numpy 2.4.6.
"""

import pathlib

import gguf
import numpy
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Value

DATA = pathlib.Path(__file__).parent / "data"
READ = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q4_K, Type.Q5_K,
        Type.Q6_K]
WRITE = [Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0]
# Where the half-precision scales of a block are.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q4_K: [0, 2],
          Type.Q5_K: [0, 2], Type.Q6_K: [208]}


def random_blocks(random, kind, rows, columns):
    """Every bit pattern may occur in the integers; the scales are ordinary, tiny (denormal) or negative."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (rows, columns // elements, size), dtype=numpy.uint8)
    for place in SCALES[kind]:
        scales = (random.standard_normal((rows, columns // elements)) * 0.01).astype(numpy.float16)
        scales[0, 0] = 3e-6
        data[..., place:place + 2] = scales[..., None].view(numpy.uint8)
    return data.reshape(rows, -1)


def main():
    random = numpy.random.default_rng(5)
    writer = gguf.GGUFWriter(DATA / "types.gguf", "test")
    for kind, value in [(Value.UINT8, 200), (Value.INT8, -100), (Value.UINT16, 60000), (Value.INT16, -30000),
                        (Value.UINT32, 4000000000), (Value.INT32, -2000000000), (Value.FLOAT32, 0.1),
                        (Value.BOOL, True), (Value.STRING, "text \u4e09\u56fd"), (Value.UINT64, 2**64 - 1),
                        (Value.INT64, -2**63), (Value.FLOAT64, 0.1)]:
        writer.add_key_value(f"scalar.{kind.name.lower()}", value, kind)
    writer.add_array("array.strings", ["a", "", "\u20ac"])
    writer.add_array("array.ints", [1, -2, 3])
    writer.add_array("array.floats", [0.5, -0.25])
    writer.add_array("array.bools", [True, False])
    writer.add_key_value("array.bytes", [0, 255], Value.ARRAY, sub_type=Value.UINT8)

    for kind in READ:
        if kind in SCALES:
            data = random_blocks(random, kind, 2, 256)
        else:
            data = gguf.quantize(random.standard_normal((2, 6), dtype=numpy.float32), kind)
        raw = data if kind in SCALES or kind == Type.BF16 else None
        writer.add_tensor(kind.name, data, raw_dtype=None if raw is None else kind)
        writer.add_tensor(f"{kind.name}.float", gguf.dequantize(data, kind).astype(numpy.float32))

    values = random.standard_normal((7, 64), dtype=numpy.float32)
    values[1] *= 1e-7
    values[2] = 0
    values[3, :32] = 0.25
    values[4, 5], values[4, 6] = 3, -3  # the first of two largest counts
    values[5, 5], values[5, 6] = -3, 3
    values[6] = (random.integers(-8, 8, 64) + 0.5) / 8
    writer.add_tensor("input", values)
    for kind in WRITE:
        writer.add_tensor(f"input.{kind.name}", gguf.quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("cube", random.standard_normal((2, 3, 4), dtype=numpy.float32))
    writer.add_tensor("ints", numpy.arange(-3, 3, dtype=numpy.int32))

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
