"""debspeech: real speech out of Debian packages, nine languages with translations, and a semi-synthetic Mandarin set."""
