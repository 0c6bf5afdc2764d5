"""Takes memory until there is none."""
pieces = []
while True:
    pieces.append(bytearray(1 << 20))
