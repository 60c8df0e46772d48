"""Images and tables: reading, writing, checking, and the built-in examples."""
