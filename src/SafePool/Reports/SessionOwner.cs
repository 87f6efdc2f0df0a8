using SafePool.Driver.Control;

namespace SafePool;

/// <summary>Whose session it is, seen from a pool.</summary>
public enum SessionOwner
{
    /// <summary>Another application's, or that of nobody known.</summary>
    Others = 0,

    /// <summary>It has the application name of this pool, but is none of its sessions: another instance's, another pool's, or one that was opened beside the pool.</summary>
    ThisApplication,

    /// <summary>One of this pool's connections, leased or idle. Never found behind a pooler, whose sessions belong to nobody.</summary>
    ThisPool,

    /// <summary>The connection beside this pool that has asked.</summary>
    ControlConnection,
}
