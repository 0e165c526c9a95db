"""The Milvus protocol as the harness speaks it: prebuilt requests over raw gRPC."""
