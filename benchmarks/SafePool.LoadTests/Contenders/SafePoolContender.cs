namespace SafePool.LoadTests.Contenders;

internal sealed class SafePoolContender(string connectionString) : IContender
{
    private readonly ConnectionPool _pool = ConnectionPool.Create(connectionString, options =>
    {
        options.Name = "load";
        options.AcquireTimeout = Workload.RentBudget;
    });

    public async ValueTask<Rented> RentAsync()
    {
        var lease = await _pool.RentAsync();
        return new Rented(lease.Connection, lease);
    }

    public ValueTask DisposeAsync() => _pool.DisposeAsync();
}
