"""How widths are found, one method a file: trial methods see each trial's measurements and propose the next."""
