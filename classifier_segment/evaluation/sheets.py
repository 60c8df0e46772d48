def map_contact_sheet(*a, **k): pass
def mask_contact_sheet(*a, **k): pass
def save_map(*a, **k): pass
