using System.Collections.Concurrent;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Outages;

/// <summary>Workers that rent, say something to the server and return, until they are stopped.</summary>
internal sealed class Load : IDisposable
{
    private readonly CancellationTokenSource _over = new();
    private readonly PoolOnServer _server;
    private readonly Task _workers;
    private long _served;
    private volatile bool _commandsMustSucceed;

    public Load(PoolOnServer server, int workers)
    {
        _server = server;
        _workers = Task.WhenAll(Enumerable.Range(0, workers).Select(_ => Task.Run(WorkAsync)));
    }

    /// <summary>How many rents had a command that succeeded.</summary>
    public long Served => Volatile.Read(ref _served);

    public ConcurrentQueue<Exception> FailedRents { get; } = [];

    /// <summary>What commands threw whose lease was rented after <see cref="CommandsMustSucceed"/>.</summary>
    public ConcurrentQueue<Exception> FailedLater { get; } = [];

    public void CommandsMustSucceed() => _commandsMustSucceed = true;

    public async Task StopAsync()
    {
        await _over.CancelAsync();
        await _workers;
    }

    public void Dispose() => _over.Cancel();

    private async Task WorkAsync()
    {
        while (!_over.IsCancellationRequested)
        {
            var mustSucceed = _commandsMustSucceed;
            if (await TryRentAsync() is not { } lease)
            {
                continue;
            }

            try
            {
                await lease.DoAsync("SELECT 1");
                Interlocked.Increment(ref _served);
            }
            catch (Exception error)
            {
                if (mustSucceed)
                {
                    FailedLater.Enqueue(error);
                }
            }
            finally
            {
                await lease.DisposeAsync();
            }
        }
    }

    private async Task<Lease?> TryRentAsync()
    {
        try
        {
            return await _server.Pool.RentAsync();
        }
        catch (Exception error)
        {
            FailedRents.Enqueue(error);
            return null;
        }
    }
}
