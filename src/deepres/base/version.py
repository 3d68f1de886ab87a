"""The version of this package, for all who write it down."""

VERSION = "0.1.0"
