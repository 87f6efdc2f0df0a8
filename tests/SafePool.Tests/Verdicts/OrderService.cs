using System.Net;
using System.Net.Sockets;
using Npgsql;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Verdicts;

/// <summary>A service that uses its pool in every way that runs it dry: the scripts of the verdict tests. Each method rents in one line.</summary>
internal sealed class OrderService(ConnectionPool pool) : IAsyncDisposable
{
    private static readonly RentOptions SlowWork = new() { ExpectedHold = TimeSpan.FromMinutes(1) };

    private readonly List<Lease> _forgotten = [];
    private readonly List<NpgsqlConnection> _forgottenConnections = [];
    private readonly TaskCompletionSource _allHold = new();
    private readonly CancellationTokenSource _end = new();
    private readonly HttpClient _shop = new();
    private readonly TaskCompletionSource _lock = new();
    private readonly TcpListener _silence = Listen();

    /// <summary>As it should be.</summary>
    public async Task CountAsync(double seconds = 0)
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, FormattableString.Invariant($"SELECT pg_sleep({seconds})"));
    }

    /// <summary>Never disposes its lease.</summary>
    public async Task LoadAsync()
    {
        var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "SELECT 1");
        lock (_forgotten)
        {
            _forgotten.Add(lease);
        }
    }

    /// <summary>Never disposes its connection.</summary>
    public async Task RefreshAsync()
    {
        var connection = await pool.OpenConnectionAsync(_end.Token);
        await connection.AskAsync<int>("SELECT 1");
        lock (_forgotten)
        {
            _forgottenConnections.Add(connection);
        }
    }

    /// <summary>Calls a web server while it holds a lease.</summary>
    public async Task QuoteAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "SELECT 1");
        await CallTheShopAsync();
        await RunAsync(lease, "SELECT 2");
    }

    /// <summary>The same within a transaction.</summary>
    public async Task BookAsync()
    {
        await using var lease = await pool.RentAsync(SlowWork, _end.Token);
        await using var transaction = await lease.BeginTransactionAsync(cancellationToken: _end.Token);
        await RunAsync(lease, "SELECT 1");
        await CallTheShopAsync();
        await transaction.CommitAsync(_end.Token);
    }

    /// <summary>The same within a transaction that Npgsql knows nothing of.</summary>
    public async Task BookBySqlAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "BEGIN");
        await CallTheShopAsync();
        await RunAsync(lease, "COMMIT");
    }

    public async Task ReportAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "SELECT pg_sleep(600)");
    }

    /// <summary>Keeps asking, without a pause.</summary>
    public async Task PollAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        while (true)
        {
            await RunAsync(lease, "SELECT pg_sleep(0.02)");
        }
    }

    /// <summary>Waits for a lock that somebody else holds.</summary>
    public async Task ReserveAsync(long key)
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, $"SELECT pg_advisory_lock({key})");
    }

    /// <summary>Begins a transaction and forgets both.</summary>
    public async Task ForgetInTransactionAsync()
    {
        var lease = await pool.RentAsync(_end.Token);
        lock (_forgotten)
        {
            _forgotten.Add(lease);
        }

        await lease.BeginTransactionAsync(cancellationToken: _end.Token);
        await RunAsync(lease, "SELECT 1");
    }

    /// <summary>Works on what it has read, without the connection.</summary>
    public async Task ComputeAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "SELECT 1");
        await Task.Factory.StartNew(_end.Token.WaitHandle.WaitOne, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Waits for another flow of the process.</summary>
    public async Task LockAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "SELECT 1");
        await _lock.Task.WaitAsync(_end.Token);
    }

    /// <summary>Reads a result, a row now and then.</summary>
    public async Task StreamAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await using var command = lease.CreateCommand("SELECT generate_series(1, 1000000)");
        await using var reader = await command.ExecuteReaderAsync(_end.Token);
        while (await reader.ReadAsync(_end.Token))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, _end.Token);
        }
    }

    /// <summary>Copies rows in, one now and then.</summary>
    public async Task ImportAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "CREATE TEMP TABLE goods (id int)");
        await using var import = await lease.Connection.BeginBinaryImportAsync("COPY goods FROM STDIN BINARY", _end.Token);
        while (true)
        {
            await import.StartRowAsync(_end.Token);
            await import.WriteAsync(1, _end.Token);
            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, _end.Token);
        }
    }

    /// <summary>Waits for a lease for as long as it takes.</summary>
    public async Task<Lease> RentPatientlyAsync() => await pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(60) }, _end.Token);

    /// <summary>Takes a lock, or waits for it, and keeps it.</summary>
    public async Task HoardAsync()
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "SELECT pg_advisory_lock(4712); SELECT pg_sleep(600)");
    }

    /// <summary>Rents a second lease, in <see cref="AuditAsync"/>, while it holds its first: once <see cref="LetAudit"/> was called.</summary>
    public async Task ShipAsync(TimeSpan patience)
    {
        await using var lease = await pool.RentAsync(_end.Token);
        await RunAsync(lease, "SELECT 1");
        await _allHold.Task;
        await AuditAsync(patience);
    }

    public void LetAudit() => _allHold.SetResult();

    /// <summary>Ends what is under way and returns what was forgotten.</summary>
    public async ValueTask DisposeAsync()
    {
        _allHold.TrySetResult();
        await _end.CancelAsync();
        await _forgotten.ReturnAllAsync();
        foreach (var connection in _forgottenConnections)
        {
            await connection.DisposeAsync();
        }

        _shop.Dispose();
        _silence.Dispose();
    }

    private static TcpListener Listen()
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return listener;
    }

    private async Task AuditAsync(TimeSpan patience)
    {
        await using var lease = await pool.RentAsync(new RentOptions { AcquireTimeout = patience }, _end.Token);
        await RunAsync(lease, "SELECT 1");
    }

    private async Task RunAsync(Lease lease, string sql)
    {
        await using var command = lease.CreateCommand(sql);
        command.CommandTimeout = 0;
        await command.ExecuteNonQueryAsync(_end.Token);
    }

    /// <summary>Connects, and gets no answer.</summary>
    private async Task CallTheShopAsync()
    {
        await _shop.GetStringAsync(new Uri($"http://{_silence.LocalEndpoint}/quote"), _end.Token);
    }
}
