namespace SafePool.Operations;

/// <summary>A session, with what makes sure that it is still the same, in the same idleness, when it is told to end.</summary>
/// <param name="Session">For the user.</param>
/// <param name="StartedAt">Process ids are used again; this with one of them is not.</param>
/// <param name="StateChangedAt">Null when it is hidden.</param>
internal sealed record Backend(ServerSession Session, DateTime? StartedAt, DateTime? StateChangedAt);
