"""Files in, checked values out: test sets, configuration, answer keys, histories; and back."""
