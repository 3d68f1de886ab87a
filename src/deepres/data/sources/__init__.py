"""Where do labelled images lie? Folders, tables, arrays, archives, shards: each becomes train, val and test."""
