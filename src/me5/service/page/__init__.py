"""The try-it page: one HTML file, its style and a few ES modules, served as they are; nothing is built or fetched."""
