"""The version of this package, for all who write it down."""

VERSION = "0.2.0"
