"""Reports that other programs read: pure builders, from SetReports to documents."""
