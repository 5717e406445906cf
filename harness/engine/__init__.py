"""llama.cpp in a child process: waves of prompts in, completions out."""
