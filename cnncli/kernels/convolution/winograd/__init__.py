"""3x3 convolutions of stride 1 with fewer multiplications; which layers use them is said in layers/."""
