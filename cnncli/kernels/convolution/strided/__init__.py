"""3x3 convolutions of stride 2 with fewer multiplications; which layers use them is said in layers/."""
