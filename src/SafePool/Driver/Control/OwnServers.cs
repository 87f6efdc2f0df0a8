using SafePool.Options;

namespace SafePool.Driver.Control;

/// <summary>The servers on which a pool has sessions: the only ones that may be asked on its behalf.</summary>
/// <param name="Newest">Under which name the newest session was reached; null when there is none.</param>
/// <param name="Known">Who they say they are: more than one while an address moves, or leads to several.</param>
/// <param name="IsUncertain">
/// Of some it is not known: a pooler is in between, which may have another server tomorrow behind the same connection, or the role may not ask.
/// </param>
internal sealed record OwnServers(HostName? Newest, IReadOnlySet<ServerIdentity> Known, bool IsUncertain)
{
    /// <summary>Whether nothing contradicts that a server is one of them. A pool without any session asks where its next one would be opened.</summary>
    public bool MayBe(ServerIdentity? server) => IsUncertain || Known.Count == 0 || (server is not null && Known.Contains(server));

    /// <summary>Whether a server is surely one of them, or there are none.</summary>
    public bool IsProven(ServerIdentity? server) => !IsUncertain && MayBe(server);
}
