"""What goes over the wire of gRPC-Web and Connect. The Python is made from the ``.proto`` beside it (docs/grpc-web.md)."""
