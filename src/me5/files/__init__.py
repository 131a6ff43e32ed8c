"""Files: written whole or not at all (`atomic`), read line by line and record by record within limits (`lines`)."""
