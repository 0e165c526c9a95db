"""The stateless proxy: the Milvus protocol in front, the roles behind."""
