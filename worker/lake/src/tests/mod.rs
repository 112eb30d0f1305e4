//! The lake against real files and a real SQLite catalog.
