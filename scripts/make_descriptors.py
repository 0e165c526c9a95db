"""Makes elanus/access/protocol/milvus.desc from the generated modules of an installed pymilvus.

usage: python scripts/make_descriptors.py    (with a Python that has pymilvus 3.0.2)

Development time only. `FloatArray.data` and `SearchResultData.scores` become `repeated bytes`: packed floats
have the same wire type, so a block of floats arrives as one bytes object instead of as Python floats.
"""

import importlib
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

from google.protobuf import descriptor_pb2

VERSION = "3.0.2"
MODULES = ("common", "schema", "feder", "msg", "rg", "milvus")
"""In the order of their imports."""
RETYPED = {("FloatArray", "data"), ("SearchResultData", "scores")}
TARGET = Path(__file__).parent.parent / "elanus" / "access" / "protocol"


def retype(file: descriptor_pb2.FileDescriptorProto) -> int:
    done = 0
    for message in file.message_type:
        for field in message.field:
            if (message.name, field.name) in RETYPED:
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                field.ClearField("options")
                done += 1
    return done


def main() -> None:
    pymilvus = distribution("pymilvus")
    if pymilvus.version != VERSION:
        sys.exit(f"pymilvus {pymilvus.version} is installed; the descriptors are those of {VERSION}")
    files = descriptor_pb2.FileDescriptorSet()
    retyped = 0
    for name in MODULES:
        module = importlib.import_module(f"pymilvus.grpc_gen.{name}_pb2")
        file = files.file.add()
        file.ParseFromString(module.DESCRIPTOR.serialized_pb)
        retyped += retype(file)
    if retyped != len(RETYPED):
        sys.exit(f"{retyped} of {len(RETYPED)} fields to retype were found")
    (TARGET / "milvus.desc").write_bytes(files.SerializeToString(deterministic=True))
    licences = [path for path in pymilvus.files or () if path.name == "LICENSE"]
    shutil.copyfile(str(licences[0].locate()), TARGET / "LICENSE")


if __name__ == "__main__":
    main()
