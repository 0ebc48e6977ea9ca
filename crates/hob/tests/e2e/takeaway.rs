//! The takeaway: from source to live orders, deployed and shot under load, stopped and killed and started again.
