"""elanus: a vector database that speaks the Milvus protocol."""

__version__ = "0.1.0"
