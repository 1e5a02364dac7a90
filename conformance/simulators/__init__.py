"""Outside parties that a demo, a test or a rehearsal needs: one module each, with switches for bad days."""
