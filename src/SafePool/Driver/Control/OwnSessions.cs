namespace SafePool.Driver.Control;

/// <summary>The sessions of a pool, to tell them from those of others on a server.</summary>
internal sealed class OwnSessions(IReadOnlyCollection<SessionIdentity> sessions)
{
    /// <summary>Whether a backend is one of them, or cannot be told from one: then it is spared.</summary>
    /// <param name="server">On which it was found; null when that server does not say who it is.</param>
    /// <param name="processId">Its process id.</param>
    /// <param name="startedAt">Its <c>backend_start</c>, as in <see cref="SessionIdentity.StartedAt"/>; null when it is hidden.</param>
    public bool MayHave(ServerIdentity? server, int processId, long? startedAt) => sessions.Any(session => session.MayBe(server, processId, startedAt));
}
