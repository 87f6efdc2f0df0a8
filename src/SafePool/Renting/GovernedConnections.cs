using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.Leaks;
using SafePool.Lifecycle;
using SafePool.Reports;

namespace SafePool.Renting;

/// <summary>Connections that are opened and closed again and again by somebody who keeps the object, as EF Core does; every time is a lease.</summary>
/// <remarks>Thread-safety: as of the pool; one connection is used by one flow at a time, as Npgsql demands anyway.</remarks>
internal sealed class GovernedConnections(PoolParts parts, RentDesk desk, ConnectionReturner returner, LeakDetector detector)
{
    private readonly ConditionalWeakTable<NpgsqlConnection, GovernedConnection> _known = [];
    private readonly ConditionalWeakTable<object, LeaseKeeper> _keepers = [];

    public PoolParts Parts => parts;

    public RentDesk Desk => desk;

    public ConnectionReturner Returner => returner;

    public LeakDetector Detector => detector;

    /// <summary>A closed connection that nobody owns yet: a lease on it is not found by the collector.</summary>
    /// <param name="site">Says where it is opened when that is not done through <see cref="OpenAsync"/>.</param>
    public NpgsqlConnection Create(Func<RentSite> site)
    {
        desk.PrepareForTransactions();
        var connection = parts.Source.Create();
        _known.Add(connection, new GovernedConnection(this, connection, site));
        return connection;
    }

    /// <summary>Whether it is one of these, and still leads where the pool leads: one whose string was changed is not the pool's any more.</summary>
    public bool Owns(NpgsqlConnection connection) => _known.TryGetValue(connection, out var governed) && governed.LeadsToThePool;

    /// <summary>Says who owns a connection: when the owner is lost, so is its lease. Does nothing for connections that are not governed.</summary>
    public void Entrust(NpgsqlConnection connection, object owner, RentOptions options)
    {
        if (_known.TryGetValue(connection, out var governed))
        {
            governed.Entrust(_keepers.GetValue(owner, static _ => new LeaseKeeper()), options);
        }
    }

    /// <summary>Rents, and opens the connection over what it got. Completes synchronously when <paramref name="blocking"/>.</summary>
    /// <returns>The connection; or another one, governed alike, when that one could not be opened any more: it was taken away and disposed, or made before a pooler was found.</returns>
    public async ValueTask<NpgsqlConnection> OpenAsync(NpgsqlConnection connection, RentSite site, bool blocking, CancellationToken cancellationToken)
    {
        _known.TryGetValue(connection, out var governed);
        var lease = await governed!.RentAsync(site, blocking, cancellationToken).ConfigureAwait(false);
        var opened = lease.Handle!.Slot.Connection!;
        if (opened != connection)
        {
            governed = governed.ContinueOn(opened);
            _known.Add(opened, governed);
        }

        governed.Hold(lease);
        return opened;
    }
}
