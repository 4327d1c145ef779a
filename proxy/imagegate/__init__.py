"""One policy for AI image generation, enforced on the wire and proved on paper."""
