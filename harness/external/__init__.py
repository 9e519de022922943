"""Other people's replicas behind the seam: started, linked, attacked and asked from outside."""
