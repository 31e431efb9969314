# SPDX-License-Identifier: Apache-2.0
"""Reads F32 tensors of a safetensors file with nothing but the standard library."""
import array
import collections
import json
import pathlib
import struct
import sys

Tensor = collections.namedtuple("Tensor", "shape values")  # values: array of float, row-major


def read_tensors(path):
    """{name: Tensor}. Throws ValueError for anything but F32."""
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    tensors = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"tensor {name} is {entry['dtype']}, expected F32")
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        values = array.array("f")
        values.frombytes(content[begin:end])
        if sys.byteorder == "big":
            values.byteswap()
        count = 1
        for extent in entry["shape"]:
            count *= extent
        if len(values) != count:
            raise ValueError(f"tensor {name} has {len(values)} values for the shape {entry['shape']}")
        tensors[name] = Tensor(entry["shape"], values)
    return tensors
