"""What a layer and a model are measured by: EVBMF rank and QC, rank slope, cumulative metric, params and MACs."""
