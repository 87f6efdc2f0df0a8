using Microsoft.EntityFrameworkCore;
using SafePool;

await using var pool = ConnectionPool.Create(args[0], options => (options.Name, options.MaxSize) = ("context", 2));
var options = new DbContextOptionsBuilder<NotesContext>().UseSafePool(pool).Options;
await using (var context = new NotesContext(options))
{
    await context.Database.ExecuteSqlRawAsync(context.Database.GenerateCreateScript());
    context.Notes.AddRange(new Note { Text = "one" }, new Note { Text = "two" });
    await context.SaveChangesAsync();
    Console.WriteLine($"notes: {await context.Notes.CountAsync()}");
    await context.Database.ExecuteSqlRawAsync("DROP TABLE \"Notes\"");
}

var snapshot = pool.GetSnapshot();
Console.WriteLine($"rents: {snapshot.TotalRents}, leased: {snapshot.Leased}");

internal sealed class NotesContext(DbContextOptions<NotesContext> options) : DbContext(options)
{
    public DbSet<Note> Notes => Set<Note>();
}

internal sealed class Note
{
    public int Id { get; set; }

    public required string Text { get; set; }
}
