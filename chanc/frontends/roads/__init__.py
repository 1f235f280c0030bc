"""Roads from a word to a module. One frontend a file, which registers it under the word before the first colon."""
