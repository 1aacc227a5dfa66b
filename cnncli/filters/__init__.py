"""Image kernels by name, the text form of a kernel, and the words for borders."""
