using Npgsql;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Isolation;

/// <summary>Random users of one pool, each of whom looks for traces of the others before leaving some.</summary>
internal sealed class Tenants(ConnectionPool pool, AuditDatabase database, Random random) : IAsyncDisposable
{
    private const int HistoryKept = 40;

    private readonly List<Tenant> _out = [];
    private readonly Queue<string> _history = [];
    private int _names;

    /// <summary>What a lease has seen of others; empty if all is well.</summary>
    public IReadOnlyList<string> Seen { get; private set; } = [];

    public HashSet<string> Kinds { get; } = [];

    public IEnumerable<string> History => _history;

    public int Rented { get; private set; }

    public int Mutated { get; private set; }

    public int Refused { get; private set; }

    /// <summary>Rents, dirties a session, or returns.</summary>
    public async Task StepAsync(int most, CancellationToken cancellationToken)
    {
        if (_out.Count == 0 || (_out.Count < most && random.Next(3) == 0))
        {
            await RentAsync(cancellationToken);
            return;
        }

        var tenant = _out[random.Next(_out.Count)];
        if (!tenant.IsSpent && random.Next(4) != 0)
        {
            await MutateAsync(tenant);
        }
        else
        {
            _out.Remove(tenant);
            await ReturnAsync(tenant);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var tenant in _out)
        {
            await ReturnAsync(tenant);
        }

        _out.Clear();
    }

    private async Task RentAsync(CancellationToken cancellationToken)
    {
        var tenant = await NewAsync(cancellationToken);
        Rented++;
        _out.Add(tenant);
        Note($"{tenant} on session {tenant.Connection.ProcessID}");
        Seen = await Probes.SeenAsync(tenant.Connection);
    }

    private async Task<Tenant> NewAsync(CancellationToken cancellationToken)
    {
        var name = ++_names;
        switch (random.Next(5))
        {
            case 0:
                return new Tenant(name, await pool.OpenConnectionAsync(cancellationToken));
            case 1:
                var rented = pool.Rent();
                return new Tenant(name, rented.Connection, rented);
            default:
                var lease = await pool.RentAsync(cancellationToken);
                return new Tenant(name, lease.Connection, lease);
        }
    }

    private async Task MutateAsync(Tenant tenant)
    {
        switch (random.Next(90))
        {
            case 0:
                await database.NotifyAsync();
                return;
            case 1 when tenant.Lease is not null:
                await ReadAsync(tenant);
                return;
            case 2 when tenant.Lease is not null:
                await tenant.Connection.CloseAsync();
                tenant.IsSpent = true;
                Note($"{tenant} closes its connection");
                return;
        }

        var mutation = Mutations.ForTheNext[random.Next(Mutations.ForTheNext.Count)];
        if (!tenant.Done.Add(mutation.Name))
        {
            return;
        }

        try
        {
            await mutation.DoAsync(tenant.Connection);
            Mutated++;
            Kinds.Add(mutation.Name);
            Note($"{tenant}: {mutation.Name}");
        }
        catch (Exception refused) when (IsOwnFault(refused))
        {
            Refused++;
            Note($"{tenant}: {mutation.Name} refused: {refused.Message}");
        }
    }

    /// <summary>What earlier mutations of the same lease lead to: a failed transaction, a role without rights, a transaction in another.</summary>
    private static bool IsOwnFault(Exception error) => error switch
    {
        PostgresException { SqlState: PostgresErrorCodes.InFailedSqlTransaction or PostgresErrorCodes.InsufficientPrivilege } => true,
        PostgresException => false,
        InvalidOperationException => true,
        _ => false,
    };

    private async Task ReadAsync(Tenant tenant)
    {
        var command = new NpgsqlCommand("SELECT i, repeat('x', 100) FROM generate_series(1, 1000000) AS i", tenant.Connection);
        try
        {
            var reader = await command.ExecuteReaderAsync();
            await reader.ReadAsync();
            tenant.IsSpent = true;
            Note($"{tenant}: a reader left open");
        }
        catch (PostgresException refused) when (IsOwnFault(refused))
        {
            Refused++;
        }
    }

    private async Task ReturnAsync(Tenant tenant)
    {
        var blocking = random.Next(3) == 0;
        Note($"{tenant} returns{(blocking ? ", blocking" : "")}");
        if (tenant.Lease is not { } lease)
        {
            await tenant.Connection.CloseAsync();
        }
        else if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }

    private void Note(string what)
    {
        _history.Enqueue(what);
        if (_history.Count > HistoryKept)
        {
            _history.Dequeue();
        }
    }

    private sealed record Tenant(int Name, NpgsqlConnection Connection, Lease? Lease = null)
    {
        public HashSet<string> Done { get; } = [];

        /// <summary>Nothing can be done but to return: a reader is open, or the connection is closed.</summary>
        public bool IsSpent { get; set; }

        public override string ToString() => $"tenant {Name}";
    }
}
